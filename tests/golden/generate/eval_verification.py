#!/usr/bin/env python3
"""Makes `eval/verification.safetensors`: ROC and DET curves, k-fold accuracy, all pairs and intervals as others measure them.

Curves are scikit-learn's, quantiles scipy's. k-fold verification and the bootstrap are worked out in plain numpy from their
definitions. The same versions give the same bytes.
"""

import numpy as np
from scipy.special import ndtri
from sklearn.metrics import det_curve, roc_auc_score, roc_curve
from sklearn.model_selection import KFold

from golden_file import save

FARS = [0.0, 0.003, 0.05, 0.2, 0.5]


def score_lists():
    """Name -> (metric, genuine, impostors), scores as the metric reports them."""
    random = np.random.default_rng(21)
    return {
        "normal": ("cosine", random.normal(0.6, 0.2, 80), random.normal(0.1, 0.2, 400)),
        "ties": ("dot", random.integers(0, 12, 60), random.integers(-6, 7, 150)),
        "distances": ("euclidean", random.gamma(2.0, 0.3, 70), random.gamma(6.0, 0.3, 210)),
        "apart": ("cosine", random.uniform(0.6, 0.9, 10), random.uniform(-0.2, 0.4, 30)),
        "wrong_way": ("cosine", random.uniform(-0.2, 0.4, 10), random.uniform(0.3, 0.9, 30)),
        "all_equal": ("dot", np.ones(4), np.ones(6)),
        "one_each": ("squared_euclidean", [1.0], [4.0]),
    }


def measures(close, genuine):
    """Of scores where larger is closer."""
    far, tar, thresholds = roc_curve(genuine, close, drop_intermediate=False)
    return {
        "far": far[1:],
        "tar": tar[1:],
        "thresholds": thresholds[1:],
        "auc": roc_auc_score(genuine, close),
        # FAR − (1 − TAR) rises strictly along the curve; the equal error rate is FAR where it is 0.
        "eer": np.interp(0.0, far + tar - 1.0, far),
        "tar_at_far": [tar[far <= limit].max() for limit in FARS],
    }


def best_accuracy(close, genuine):
    """(accuracy, threshold), the strictest of equals; a pair passes at the threshold too."""
    candidates = np.unique(close)[::-1]
    right = [np.mean((close >= t) == genuine) for t in candidates]
    none = np.mean(~genuine)
    best = int(np.argmax(right))
    return (none, np.inf) if none >= right[best] else (right[best], candidates[best])


def curve(metric, genuine_scores, impostor_scores):
    genuine_scores, impostor_scores = np.float32(genuine_scores), np.float32(impostor_scores)
    sign = 1.0 if metric in ("cosine", "dot") else -1.0
    close = sign * np.concatenate([genuine_scores, impostor_scores]).astype(np.float64)
    genuine = np.arange(len(close)) < len(genuine_scores)
    found = measures(close, genuine)
    fmr, fnmr, det_thresholds = det_curve(genuine, close, drop_intermediate=False)
    # Newer versions begin with an infinite threshold.
    finite = np.isfinite(det_thresholds)
    found |= {"fmr": fmr[finite], "fnmr": fnmr[finite], "best_accuracy": best_accuracy(close, genuine)[0]}
    found["det_thresholds"] = sign * det_thresholds[finite]
    found["thresholds"] = sign * found["thresholds"]
    return {"genuine": genuine_scores, "impostors": impostor_scores} | numbers(found)


def at_threshold(distance, genuine, threshold):
    """(accuracy, TAR, FAR) where a pair passes when it is strictly below the threshold."""
    passing = distance < threshold
    return np.mean(passing == genuine), np.mean(passing[genuine]), np.mean(passing[~genuine])


def on_grid(distance, genuine, train, test, fars):
    grid = np.arange(0, 4, 0.01)
    threshold = grid[np.argmax([at_threshold(distance[train], genuine[train], t)[0] for t in grid])]
    row = [threshold, at_threshold(distance[test], genuine[test], threshold)[0]]
    grid = np.arange(0, 4, 0.001)
    reached = np.array([at_threshold(distance[train], genuine[train], t)[2] for t in grid])
    for far in fars:
        threshold = np.interp(far, reached, grid) if reached.max() >= far else 0.0
        row += [threshold, *at_threshold(distance[test], genuine[test], threshold)[1:]]
    return row


def exactly(distance, genuine, train, test, fars):
    close = -distance
    _, threshold = best_accuracy(close[train], genuine[train])
    row = [-threshold, np.mean((close[test] >= threshold) == genuine[test])]
    impostors = np.sort(close[train][~genuine[train]])[::-1]
    for far in fars:
        # The impostor score that would break the FAR; only what is closer passes.
        breaking = impostors[int(np.floor(far * len(impostors) + 1e-9))]
        passing = close[test] > breaking
        row += [-breaking, np.mean(passing[genuine[test]]), np.mean(passing[~genuine[test]])]
    return row


def folds(search, folds, each, fars):
    random = np.random.default_rng(22)
    genuine = np.tile(np.repeat([True, False], each), folds)
    centre = np.where(genuine, 1.0, 1.8)
    distance = np.clip(random.normal(centre, 0.35), 0.0, 4.0).astype(np.float32).astype(np.float64)
    rows = [
        search(distance, genuine, train, test, fars)
        for train, test in KFold(n_splits=folds, shuffle=False).split(distance)
    ]
    rows = np.array(rows)
    return {
        "scores": distance.astype(np.float32),
        "same": genuine.astype(np.uint32),
        "folds": rows,
        "mean": rows.mean(axis=0),
        "population_std": np.std(rows, axis=0),
        "standard_error": np.std(rows, axis=0, ddof=1) / np.sqrt(folds),
    }


def all_pairs(classes, each, width):
    random = np.random.default_rng(23)
    labels = random.permutation(np.repeat(np.arange(classes), each)).astype(np.uint32)
    # Whole numbers, so that squared distances are exact in single precision.
    x = np.rint(random.normal(0, 25, (classes, width))[labels] + random.normal(0, 14, (len(labels), width)))
    first, second = np.triu_indices(len(labels), 1)
    distance = np.square(x[first] - x[second]).sum(axis=1)
    found = measures(-distance, labels[first] == labels[second])
    kept = {name: found[name] for name in ("auc", "eer", "tar_at_far")}
    return {"embeddings": x.astype(np.float32), "labels": labels} | numbers(kept)


def intervals(classes, each, far, resamples=5000):
    """The bootstrap over identities, worked out on matrices of pairs: quantiles of EER, AUC and TAR@FAR."""
    random = np.random.default_rng(24)
    labels = np.repeat(np.arange(classes), each)
    points = np.rint(random.normal(0, 12, (classes, 2))[labels] + random.normal(0, 9, (len(labels), 2)))
    first, second = np.triu_indices(len(labels), 1)
    distance = np.square(points[first] - points[second]).sum(axis=1)
    genuine = labels[first] == labels[second]
    found = []
    for _ in range(resamples):
        times = np.bincount(random.integers(0, classes, classes), minlength=classes)
        weight = np.where(genuine, times[labels[first]], times[labels[first]] * times[labels[second]])
        steps = np.unique(distance[weight > 0])
        place = np.searchsorted(steps, distance)
        share = [np.cumsum(np.bincount(place[k & (weight > 0)], weight[k & (weight > 0)], len(steps))) for k in (~genuine, genuine)]
        fars, tars = (np.concatenate([[0.0], s / s[-1]]) for s in share)
        eer = np.interp(0.0, fars + tars - 1.0, fars)
        found.append([eer, np.trapezoid(tars, fars), tars[fars <= far + 1e-12].max()])
    return {
        "embeddings": points.astype(np.float32),
        "labels": labels.astype(np.uint32),
        "low": np.quantile(found, 0.025, axis=0),
        "high": np.quantile(found, 0.975, axis=0),
    }


def numbers(results):
    return {name: np.asarray(value, dtype=np.float64) for name, value in results.items()}


def main():
    cases = {
        f"curve_{name}": ({"metric": metric, "fars": FARS}, curve(metric, genuine, impostors))
        for name, (metric, genuine, impostors) in score_lists().items()
    }
    p = np.concatenate([[1e-300, 1e-20, 1e-9], np.linspace(0.001, 0.999, 31), [0.075, 0.925, 1 - 1e-9]])
    cases["probit"] = ({}, {"p": p, "quantiles": ndtri(p)})
    fold_fars = [0.001, 0.01, 0.1]
    cases["folds_grid"] = ({"fars": fold_fars, "k": 10}, folds(on_grid, 10, 30, fold_fars))
    cases["folds_exact"] = ({"fars": fold_fars, "k": 10}, folds(exactly, 10, 30, fold_fars))
    cases["all_pairs"] = ({"metric": "squared_euclidean", "fars": FARS}, all_pairs(50, 12, 6))
    cases["intervals"] = ({"far": 0.05}, intervals(60, 4, 0.05))
    save("eval/verification.safetensors", cases)


if __name__ == "__main__":
    main()
