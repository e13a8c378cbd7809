#!/usr/bin/env python3
"""Makes `eval/calibration.safetensors`: thresholds, probabilities and their errors. README.md says how to run it. The same versions
give the same bytes.

Platt scaling is scikit-learn's `_sigmoid_calibration`, and its logistic regression without a penalty by Newton's method, which goes
further: with Platt's targets as weights, and without. Isotonic regression, Brier score, log-loss and the calibration curve are
scikit-learn's; ECE, MCE, Cllr, OPIS and the rates of classes their formulas in plain numpy; minimum Cllr is that of scikit-learn's
isotonic fit.
"""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.calibration import _sigmoid_calibration, calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from golden_file import save

BINS = [1, 5, 10]
TARGETS = [0.0, 0.001, 0.01, 0.1, 0.5]


def samples():
    """Name -> (scores, outcomes)."""
    random = np.random.default_rng(41)

    def two(genuine, impostors, apart, scale=1.0, shift=0.0):
        outcomes = random.permutation(np.repeat([True, False], [genuine, impostors]))
        return scale * (random.normal(size=genuine + impostors) + apart * outcomes) + shift, outcomes

    scores, outcomes = two(60, 140, 1.5)
    return {
        "overlapping": (scores, outcomes),
        "ties": (np.round(scores * 2) / 2, outcomes),
        "rare": two(6, 194, 2.0),
        "large": two(50, 50, 1.0, scale=500.0, shift=1e4),
        "wrong_way_round": two(40, 60, -1.0),
        "parted": (np.concatenate([np.linspace(0, 1, 9), np.linspace(2, 5, 7)]), np.arange(16) > 8),
        "two": (np.array([0.25, 0.75]), np.array([False, True])),
    }


def logistic(scores, weights_of_one, weights_of_zero):
    """Slope and intercept of least weighted cross-entropy, in Platt's notation."""
    mean, deviation = scores.mean(), scores.std()
    z = ((scores - mean) / deviation)[:, None]
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-13, max_iter=1000)
    targets = np.repeat([1, 0], len(scores))
    model.fit(np.concatenate([z, z]), targets, np.concatenate([weights_of_one, weights_of_zero]))
    slope = model.coef_[0, 0] / deviation
    return [-slope, -(model.intercept_[0] - slope * mean)]


def platt(scores, outcomes):
    positives, negatives = outcomes.sum(), (~outcomes).sum()
    targets = np.where(outcomes, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    results = {
        "platt_sklearn": _sigmoid_calibration(scores, outcomes.astype(np.float64)),
        "platt": logistic(scores, targets, 1 - targets),
    }
    # Otherwise the slope has no end.
    if scores[outcomes].min() < scores[~outcomes].max() and scores[~outcomes].min() < scores[outcomes].max():
        results["platt_unsmoothed"] = logistic(scores, outcomes.astype(float), (~outcomes).astype(float))
    return results


def cllr(ratios, outcomes):
    with np.errstate(over="ignore"):
        genuine, impostors = np.logaddexp(0, -ratios[outcomes]), np.logaddexp(0, ratios[~outcomes])
    return 0.5 * (genuine.mean() + impostors.mean()) / np.log(2)


def calibrated(scores, outcomes):
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(scores, outcomes)
    low, high = scores.min(), scores.max()
    asked = np.concatenate([scores, np.linspace(low - (high - low), high + (high - low), 50)])
    fitted = isotonic.predict(scores)
    prior = np.log(outcomes.sum() / (~outcomes).sum())
    with np.errstate(divide="ignore"):
        best = np.log(fitted) - np.log1p(-fitted) - prior
    return {
        "asked": asked,
        "isotonic": isotonic.predict(asked),
        "cllr": cllr(scores / (1 + np.abs(scores).max()), outcomes),
        "min_cllr": cllr(best, outcomes),
    }


def errors(probabilities, outcomes):
    results = {
        "brier": brier_score_loss(outcomes, probabilities),
        "log_loss": log_loss(outcomes, probabilities),
    }
    for strategy in ("uniform", "quantile"):
        for bins in BINS:
            share, mean = calibration_curve(outcomes, probabilities, n_bins=bins, strategy=strategy)
            edges = np.linspace(0, 1, bins + 1)
            if strategy == "quantile":
                edges = np.quantile(probabilities, edges)
            at = np.searchsorted(edges[1:-1], probabilities)
            held = np.unique(at)
            weight = np.array([(at == b).mean() for b in held])
            gap = np.array([abs(outcomes[at == b].mean() - probabilities[at == b].mean()) for b in held])
            results |= {
                f"{strategy}_{bins}/share": share,
                f"{strategy}_{bins}/mean": mean,
                f"{strategy}_{bins}/ece": (weight * gap).sum(),
                f"{strategy}_{bins}/mce": gap.max(),
            }
    return results


def sets():
    """Name -> (metric, embeddings, labels)."""
    random = np.random.default_rng(42)

    def classes(d, spread, *sizes):
        labels = random.permutation(np.repeat(3 * np.arange(len(sizes)) + 1, sizes))
        centres = random.normal(size=(labels.max() + 1, d))
        widths = random.uniform(0.3, 1.7, size=labels.max() + 1) * spread
        return centres[labels] + widths[labels][:, None] * random.normal(size=(len(labels), d)), labels

    x, labels = classes(5, 0.6, 12, 9, 8, 7, 6, 5, 3, 1, 1)
    grid = random.integers(-3, 4, size=(len(labels), 2))
    return {"euclidean": ("euclidean", x, labels), "cosine": ("cosine", x, labels), "grid": ("euclidean", grid, labels)}


def class_rates(close, labels, threshold):
    names, sizes = np.unique(labels, return_counts=True)
    fnmr, fmr = [], []
    for name in names[sizes > 1]:
        mine = labels == name
        genuine = close[np.ix_(mine, mine)][np.triu_indices(mine.sum(), 1)]
        fnmr.append(np.mean(genuine < threshold))
        fmr.append(np.mean(close[np.ix_(mine, ~mine)] >= threshold))
    return np.array(fnmr), np.array(fmr)


def consistency(metric, x, labels, c, points):
    sign = 1.0 if metric == "cosine" else -1.0
    close = 1 - cdist(x, x, "cosine") if metric == "cosine" else -cdist(x, x)
    first, second = np.triu_indices(len(labels), 1)
    impostors = np.sort(close[first, second][labels[first] != labels[second]])[::-1]
    rates, passed = [], []
    for target in TARGETS:
        steps = np.concatenate([[np.inf], np.unique(close)[::-1]])
        t = [t for t in steps if np.mean(impostors >= t) <= target][-1]
        rates.append(np.mean(impostors >= t))
        passed.append((impostors >= t).sum())
    # Between scores, so that float32 puts all pairs on the same side.
    ends = np.quantile(impostors, [0.9, 0.97]) + 1e-5
    utilities = []
    for t in np.linspace(*ends[::-1], points):
        fnmr, fmr = class_rates(close, labels, t)
        specificity, sensitivity = 1 - fmr, 1 - fnmr
        below = c * c * specificity + sensitivity
        utilities.append(np.where(below > 0, (1 + c * c) * specificity * sensitivity / np.maximum(below, 1e-300), 0))
    variance, mean = np.var(utilities, axis=1), np.mean(utilities, axis=1)
    at = np.median(impostors) + 1e-5
    fnmr, fmr = class_rates(close, labels, at)
    return {
        "fmr": rates,
        "passed": passed,
        "ends": sign * ends[::-1],
        "opis": np.trapezoid(variance, dx=1 / (points - 1)),
        "utility": np.trapezoid(mean, dx=1 / (points - 1)),
        "at": sign * at,
        "class_fnmr": fnmr,
        "class_fmr": fmr,
    }


def numbers(results):
    return {name: np.asarray(value, dtype=np.float64) for name, value in results.items()}


def main():
    cases = {}
    for name, (scores, outcomes) in samples().items():
        outcomes = outcomes.astype(bool)
        results = platt(scores, outcomes) | calibrated(scores, outcomes)
        cases[f"scores_{name}"] = ({}, {"outcomes": outcomes.astype(np.uint32)} | numbers({"scores": scores} | results))
    random = np.random.default_rng(43)
    probabilities = random.beta(0.7, 1.1, size=160)
    outcomes = random.uniform(size=160) < 0.8 * probabilities + 0.05
    for name, p in {"smooth": probabilities, "tenths": np.round(probabilities, 1)}.items():
        given = {"outcomes": outcomes.astype(np.uint32), "probabilities": p}
        cases[f"probabilities_{name}"] = ({"bins": BINS}, given | numbers(errors(p, outcomes)))
    for name, (metric, x, labels) in sets().items():
        c, points = (2.0, 7) if name == "cosine" else (1.0, 31)
        x = np.asarray(x, dtype=np.float32)
        results = consistency(metric, x.astype(np.float64), labels, c, points)
        description = {"metric": metric, "targets": TARGETS, "c": c, "points": points}
        given = {"embeddings": x, "labels": labels.astype(np.uint32)}
        cases[f"set_{name}"] = (description, given | numbers(results))
    save("eval/calibration.safetensors", cases)


if __name__ == "__main__":
    main()
