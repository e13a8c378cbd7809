#!/usr/bin/env python3
"""Makes `metrics.safetensors`: retrieval, verification and intervals as others measure them. README.md says how to run it.

Retrieval is pytorch-metric-learning's AccuracyCalculator, recall@k plain numpy; verification is scikit-learn's ROC curve;
intervals are scipy's Student t. The same versions give the same bytes.
"""

import numpy as np
import scipy.stats
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.metrics import roc_auc_score, roc_curve

from golden_file import save

FARS = [0.0, 0.05, 0.2, 0.5]
RECALL_AT = [1, 2, 4, 7]


def sets():
    """Name -> (metric, embeddings [n, d], labels [n])."""
    random = np.random.default_rng(11)

    def classes(points, *sizes):
        """Classes of these sizes in random order; `points` are moved apart by class."""
        labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
        centres = random.integers(-3, 4, size=(len(sizes), points.shape[1]))
        return points + centres[labels], labels

    # Coordinates are small integers but for `directions`, so that ties are ties in any precision.
    return {
        "line_with_lone_label": ("euclidean", [[0], [10], [24], [25], [50], [90]], np.array([0, 0, 1, 0, 1, 2])),
        "grid_with_ties": ("euclidean", *classes(random.integers(-2, 3, size=(30, 2)), 9, 7, 6, 5, 2, 1)),
        "grid_squared": ("squared_euclidean", *classes(random.integers(-3, 4, size=(24, 3)), 8, 8, 8)),
        "grid_dot": ("dot", *classes(random.integers(-2, 3, size=(20, 3)), 6, 6, 5, 3)),
        "all_equal": ("euclidean", np.ones((8, 3)), np.array([0, 0, 1, 0, 1, 2, 0, 1])),
        "directions": ("cosine", *classes(2 * random.normal(size=(16, 5)), 6, 5, 4, 1)),
    }


def closeness(metric, x):
    """[n, n], larger is closer."""
    if metric == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    if metric in ("cosine", "dot"):
        return x @ x.T
    squared = np.square(x[:, None] - x[None]).sum(2)
    return -squared if metric == "squared_euclidean" else -np.sqrt(squared)


def ranking(close):
    """[n, n − 1]: all others, closest first, ties by smaller id."""
    close = close.copy()
    np.fill_diagonal(close, -np.inf)
    return np.argsort(-close, axis=1, kind="stable")[:, :-1]


def retrieval(x, labels, order):
    # PML's own searches leave the order of ties open.
    def search(query, k, reference, ref_includes_query):
        assert ref_includes_query and k == order.shape[1]
        return None, torch.tensor(order)

    include = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=include, k=None, device=torch.device("cpu"), knn_func=search)
    measured = calculator.get_accuracy(x, labels.astype(np.int64))
    right = labels[order] == labels[:, None]
    asked = right.any(axis=1)
    return {
        "precision_at_1": measured["precision_at_1"],
        "r_precision": measured["r_precision"],
        "map_at_r": measured["mean_average_precision_at_r"],
        "recall": [right[asked, :k].any(axis=1).mean() for k in ks(len(labels))],
        "queries": asked.sum(),
    }


def ks(n):
    return [k for k in RECALL_AT if k < n]


def verification(close, labels):
    first, second = np.triu_indices(len(labels), 1)
    genuine, score = labels[first] == labels[second], close[first, second]
    far, tar, _ = roc_curve(genuine, score, drop_intermediate=False)
    return {
        "auc": roc_auc_score(genuine, score),
        # FAR − (1 − TAR) rises strictly along the curve; the equal error rate is FAR where it is 0.
        "eer": np.interp(0.0, far + tar - 1.0, far),
        "tar": [tar[far <= limit].max() for limit in FARS],
        "genuine": genuine.sum(),
        "impostors": (~genuine).sum(),
    }


def far_apart(close, labels):
    """Refuses scores whose order depends on the precision."""
    gaps = np.diff(np.unique(close[np.triu_indices(len(labels), 1)]))
    if np.any(gaps < 1e-5):
        raise ValueError("two scores differ by rounding only: choose another seed")


def interval(values):
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * scipy.stats.sem(values)
    return {"values": values, "mean": np.mean(values), "std": np.std(values, ddof=1), "ci95": half}


def numbers(results):
    return {name: np.asarray(value, dtype=np.float64) for name, value in results.items()}


def main():
    cases = {}
    for name, (metric, x, labels) in sets().items():
        x, labels = np.asarray(x, dtype=np.float32), labels.astype(np.uint32)
        close = closeness(metric, x.astype(np.float64))
        far_apart(close, labels)
        results = retrieval(x, labels, ranking(close)) | verification(close, labels)
        cases[name] = (
            {"metric": metric, "recall_at": ks(len(labels)), "fars": FARS},
            {"embeddings": x, "labels": labels} | numbers(results),
        )
    random = np.random.default_rng(12)
    samples = {
        "interval_of_2": [0.5, 0.75],
        "interval_of_3": [0.61, 0.58, 0.66],
        "interval_of_5": random.uniform(0.4, 0.6, 5),
        "interval_of_30": random.normal(70, 2, 30),
        "interval_of_equals": [0.25] * 4,
    }
    for name, values in samples.items():
        cases[name] = ({}, numbers(interval(np.asarray(values))))
    save("metrics.safetensors", cases)


if __name__ == "__main__":
    main()
