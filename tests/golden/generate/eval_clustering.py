#!/usr/bin/env python3
"""Makes `eval/clustering.safetensors`: what scikit-learn says of pairs of labelings, and its k-means from given centroids.
README.md says how to run it. The same versions give the same bytes.

Pairwise precision, recall and F1 are those of scikit-learn's pair confusion matrix, purity that of its contingency matrix.
k-means runs in float64 on one thread.
"""

import numpy as np
from sklearn import metrics
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix
from threadpoolctl import threadpool_limits

from golden_file import save


def labelings():
    """Name -> (classes [n], clusters [n])."""
    random = np.random.default_rng(31)
    draw = lambda n, most: random.integers(0, most, n)
    sizes = np.repeat(np.arange(700), random.integers(1, 7, 700))
    mixed = np.where(random.random(len(sizes)) < 0.3, draw(len(sizes), 700), sizes)
    skewed = np.minimum(random.geometric(0.3, 600), 9)
    return {
        "random": (draw(200, 6), draw(200, 9)),
        "related": (skewed, np.where(random.random(600) < 0.7, 20 - skewed, draw(600, 5))),
        "identical": (skewed[:50], skewed[:50]),
        "renamed": (skewed[:50], 4_000_000_000 - skewed[:50]),
        "one_class": (np.zeros(30), draw(30, 4)),
        "one_cluster": (draw(30, 4), np.zeros(30)),
        "one_of_each": (np.ones(12), np.full(12, 7)),
        "one_item": (np.ones(1), np.zeros(1)),
        "two_items_apart": (np.zeros(2), np.arange(2)),
        "singleton_classes": (np.arange(40), draw(40, 5)),
        "singleton_clusters": (draw(40, 5), np.arange(40)),
        "singletons": (np.arange(25), random.permutation(25)),
        "independent": (np.tile([0, 1], 20), np.repeat([0, 1], 20)),
        "finer": (np.arange(60) // 12, np.arange(60) // 4),
        "small_classes": (sizes, mixed),
        "large": (draw(4000, 40), draw(4000, 60)),
    }


def agreement(classes, clusters):
    (_, false_positive), (false_negative, true_positive) = pair_confusion_matrix(classes, clusters).astype(float)
    share = lambda part, whole: part / whole if whole else 0.0
    results = {
        f"nmi_{average}": metrics.normalized_mutual_info_score(classes, clusters, average_method=average)
        for average in ["arithmetic", "geometric", "min", "max"]
    } | {
        f"ami_{average}": metrics.adjusted_mutual_info_score(classes, clusters, average_method=average)
        for average in ["arithmetic", "geometric", "min", "max"]
    }
    return results | {
        "mutual_information": metrics.mutual_info_score(classes, clusters),
        "ari": metrics.adjusted_rand_score(classes, clusters),
        "homogeneity": metrics.homogeneity_score(classes, clusters),
        "completeness": metrics.completeness_score(classes, clusters),
        "v_measure": metrics.v_measure_score(classes, clusters),
        "v_measure_half": metrics.v_measure_score(classes, clusters, beta=0.5),
        "v_measure_2": metrics.v_measure_score(classes, clusters, beta=2.0),
        "pair_precision": share(true_positive, true_positive + false_positive),
        "pair_recall": share(true_positive, true_positive + false_negative),
        "pair_f1": share(2 * true_positive, 2 * true_positive + false_positive + false_negative),
        "fowlkes_mallows": metrics.fowlkes_mallows_score(classes, clusters),
        "purity": contingency_matrix(classes, clusters).max(0).sum() / len(classes),
    }


def starts():
    """Name -> (rows [n, d], first centroids [k, d], passes at most, tolerance)."""
    random = np.random.default_rng(32)

    def blobs(n, d, k, spread):
        return random.normal(size=(k, d))[random.integers(0, k, n)] + spread * random.normal(size=(n, d))

    near, loose, far = blobs(120, 5, 6, 0.1), blobs(300, 8, 10, 0.8), blobs(90, 3, 4, 0.3) + 300
    beyond = np.concatenate([near[:5], np.full((2, 5), 50.0) + [[0], [1]]])
    return {
        "settles": (near, near[:6], 100, 0),
        "breaks_off": (loose, loose[:10], 3, 0),
        "tolerates": (loose, loose[50:60], 100, 1e-2),
        "loose": (loose, loose[100:110], 300, 0),
        "far_from_0": (far, far[:4], 100, 0),
        "empty": (near, beyond, 100, 0),
        "one_cluster": (near, near[:1], 10, 0),
        "every_row": (near[:20], near[:20], 10, 0),
    }


def seeding(x, clusters):
    """Mean and deviation of the inertia that k-means++ starts with, over 400 seeds: plain, and greedy as by default."""

    def inertia(seed, draws):
        start, _ = kmeans_plusplus(x, clusters, random_state=seed, n_local_trials=draws)
        return np.square(x[:, None] - start).sum(2).min(1).sum()

    for name, draws in ("plain", 1), ("greedy", None):
        values = [inertia(seed, draws) for seed in range(400)]
        yield f"seeding_{name}", np.array([np.mean(values), np.std(values, ddof=1)])


def main():
    cases = {}
    for name, (classes, clusters) in labelings().items():
        classes, clusters = classes.astype(np.uint32), clusters.astype(np.uint32)
        scores = {key: np.array([score], dtype=np.float64) for key, score in agreement(classes, clusters).items()}
        cases[name] = ({"is": "labelings"}, {"classes": classes, "clusters": clusters} | scores)
    for name, (x, start, passes, tolerance) in starts().items():
        x, start = x.astype(np.float32), start.astype(np.float32)
        found = KMeans(len(start), init=start.astype(float), n_init=1, max_iter=passes, tol=tolerance, algorithm="lloyd")
        found.fit(x.astype(float))
        cases[f"kmeans_{name}"] = (
            {"is": "kmeans", "passes": passes, "tolerance": tolerance, "made": int(found.n_iter_)},
            {
                "rows": x,
                "start": start,
                "centroids": found.cluster_centers_.astype(np.float64),
                "assignment": found.labels_.astype(np.uint32),
                "inertia": np.array([found.inertia_]),
            }
            | (dict(seeding(x.astype(float), len(start))) if name == "loose" else {}),
        )
    save("eval/clustering.safetensors", cases)


if __name__ == "__main__":
    # Sums of several threads come in any order.
    with threadpool_limits(1):
        main()
