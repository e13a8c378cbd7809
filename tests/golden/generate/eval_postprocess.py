#!/usr/bin/env python3
"""Makes `eval/postprocess.safetensors`: re-ranking, query expansion, PCA and whitening by numpy, scipy and scikit-learn. README.md
says how to run it. The same versions give the same bytes.

Re-ranking is the algorithm of Zhong et al., 2017, written out on the whole matrix of distances, with the released code's protocol.
"""

import numpy as np
import scipy.linalg
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from golden_file import save


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def clusters(random, n, d, count, spread):
    labels = random.integers(0, count, n)
    return (random.normal(size=(count, d))[labels] + spread * random.normal(size=(n, d))).astype(np.float32), labels


def reranked(squares, queries, k1, k2, share):
    """Final distances [queries, n] of the first rows from squared distances [n, n]."""
    n = len(squares)
    distance = squares / squares.max(axis=1, keepdims=True)
    rank = np.argsort(distance, axis=1, kind="stable")

    def reciprocal(i, k):
        return {j for j in rank[i, : k + 1] if i in rank[j, : k + 1]}

    half = int(np.around(k1 / 2))
    encoded = np.zeros((n, n))
    for i in range(n):
        core = reciprocal(i, k1)
        rows = set(core)
        for j in core:
            candidate = reciprocal(j, half)
            if len(candidate & core) > 2 / 3 * len(candidate):
                rows |= candidate
        rows = sorted(rows)
        encoded[i, rows] = np.exp(-distance[i, rows])
        encoded[i] /= encoded[i].sum()
    if k2 > 1:
        encoded = np.stack([encoded[rank[i, :k2]].mean(axis=0) for i in range(n)])
    common = np.stack([np.minimum(encoded[q], encoded).sum(axis=1) for q in range(queries)])
    return (1 - share) * (1 - common / (2 - common)) + share * distance[:queries]


def reranking(random):
    for name, metric, (q, g), k1, k2, share in [
        ("paper", "euclidean", (12, 60), 20, 6, 0.3),
        ("cosine", "cosine", (9, 40), 7, 3, 0.5),
        ("no_expansion", "squared_euclidean", (8, 30), 5, 1, 0.0),
        ("within", "euclidean", (40, 0), 6, 4, 0.3),
    ]:
        x, _ = clusters(random, q + g, 5, 6, 0.7)
        wide = x.astype(np.float64)
        wide = unit(wide) if metric == "cosine" else wide
        final = reranked(cdist(wide, wide, "sqeuclidean"), q, k1, k2, share)
        tensors = {"queries": x[:q], "final": final[:, q:] if g else final}
        description = {"metric": metric, "k1": k1, "k2": k2, "lambda": share}
        yield f"k_reciprocal_{name}", (description, tensors | ({"gallery": x[q:]} if g else {}))


def expansion(random):
    x, _ = clusters(random, 50, 6, 5, 0.6)
    queries, gallery = x[:10], x[10:]

    def expanded(metric, queries, gallery, n, weights, within):
        queries, gallery = queries.astype(np.float64), gallery.astype(np.float64)
        if metric == "cosine":
            queries, gallery = unit(queries), unit(gallery)
            close = queries @ gallery.T
        else:
            close = -cdist(queries, gallery)
        if within:
            np.fill_diagonal(close, -np.inf)
        rank = np.argsort(-close, axis=1, kind="stable")[:, :n]
        score = np.take_along_axis(close, rank, axis=1)
        if weights == "average":
            weight = np.ones_like(score)
        elif weights == "rank":
            weight = np.broadcast_to((n - np.arange(n)) / (n + 1), score.shape)
        else:
            weight = np.maximum(score, 0) ** weights
        result = (queries + (weight[:, :, None] * gallery[rank]).sum(1)) / (1 + weight.sum(1, keepdims=True))
        return unit(result) if metric == "cosine" else result

    for name, metric, n, weights in [
        ("average", "cosine", 5, "average"),
        ("average_euclidean", "euclidean", 3, "average"),
        ("alpha", "cosine", 10, 3.0),
        ("rank", "cosine", 4, "rank"),
    ]:
        description = {"metric": metric, "neighbours": n, "weights": weights}
        tensors = {
            "queries": queries,
            "gallery": gallery,
            "expanded": expanded(metric, queries, gallery, n, weights, False),
            "augmented": expanded(metric, gallery, gallery, n, weights, True),
        }
        yield f"expansion_{name}", (description, tensors)


def whitening(random):
    x, labels = clusters(random, 60, 7, 6, 0.4)
    x = (x @ random.normal(size=(7, 7)) + 3).astype(np.float32)
    new = (x[:9] * 0.7 + 1).astype(np.float32)
    wide, wide_new = x.astype(np.float64), new.astype(np.float64)
    common = {"fitted": x, "new": new, "labels": labels.astype(np.uint32)}
    for keep in [3, 7]:
        pca = PCA(n_components=keep, svd_solver="full").fit(wide)
        tensors = {
            "mean": pca.mean_,
            "components": pca.components_,
            "explained_variance": pca.explained_variance_,
            "explained_variance_ratio": pca.explained_variance_ratio_,
            "projected": pca.transform(wide_new),
            "whitened": PCA(n_components=keep, svd_solver="full", whiten=True).fit(wide).transform(wide_new),
        }
        yield f"pca_{keep}", ({"keep": keep}, common | tensors)
    mean = wide.mean(0)

    def towards_positive(rows):
        at = np.abs(rows).argmax(axis=1)
        return rows * np.sign(rows[np.arange(len(rows)), at])[:, None]

    keep, shrinkage, epsilon = 5, 0.2, 0.01
    values, vectors = np.linalg.eigh(np.cov(wide.T))
    values, vectors = values[::-1], towards_positive(vectors.T[::-1])
    shrunk = (1 - shrinkage) * values + shrinkage * values.mean() + epsilon
    matrix = (vectors / np.sqrt(shrunk)[:, None])[:keep]
    description = {"keep": keep, "shrinkage": shrinkage, "epsilon": epsilon}
    yield "whitening_shrunk", (description, common | {"whitened": unit((wide_new - mean) @ matrix.T)})

    first, second = np.triu_indices(len(wide), 1)
    same = labels[first] == labels[second]
    differences = wide[first[same]] - wide[second[same]]
    within = differences.T @ differences / same.sum()
    # The columns of scipy's solution have vᵀSv = 1: they are the whole map.
    _, vectors = scipy.linalg.eigh(np.cov(wide.T), within)
    matrix = towards_positive(vectors.T[::-1])[:keep]
    yield "whitening_learned", ({"keep": keep}, common | {"whitened": unit((wide_new - mean) @ matrix.T)})


def main():
    cases = {}
    for seed, made in [(31, reranking), (32, expansion), (33, whitening)]:
        cases |= dict(made(np.random.default_rng(seed)))
    save("eval/postprocess.safetensors", cases)


if __name__ == "__main__":
    main()
