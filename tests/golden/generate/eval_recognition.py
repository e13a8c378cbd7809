#!/usr/bin/env python3
"""Makes `eval/recognition.safetensors`: open-set and closed-set identification, and few-shot classification. README.md says how to
run it. The same versions give the same bytes.

Scores are scipy's, in float64; FPIR, TPIR and CMC are their definitions in plain numpy over the whole table of identities' scores
(NISTIR 8271); few-shot classes are scikit-learn's NearestCentroid, KNeighborsClassifier and cosine_similarity.
"""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import normalize

from golden_file import save

FPIRS = [0.0, 0.02, 0.1, 0.3, 0.7]
RANKS = [1, 2, 5]
METRICS = {"cosine": "cosine", "euclidean": "euclidean", "squared_euclidean": "sqeuclidean"}


def galleries():
    """Name -> (metric, templates, embeddings [n, d], labels [n], gallery rows, probe rows)."""
    random = np.random.default_rng(31)

    def classes(points, spread, *sizes):
        labels = random.permutation(np.repeat(5 * np.arange(len(sizes)) + 2, sizes))
        centres = random.normal(size=(labels.max() + 1, points.shape[1])) * spread
        return points + centres[labels], labels

    def parts(labels, identities, shots):
        """The first `shots` rows of some classes enrol, all other rows probe."""
        names = random.permutation(np.unique(labels))[:identities]
        gallery = np.concatenate([np.flatnonzero(labels == name)[:shots] for name in names])
        return gallery, random.permutation(np.setdiff1d(np.arange(len(labels)), gallery))

    sizes = (9, 8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3)
    x, labels = classes(random.normal(size=(72, 6)), 1.5, *sizes)
    grid, grid_labels = classes(random.integers(-1, 2, size=(72, 3)), 0.0, *sizes)
    named = {}
    for templates in ("per_image", "mean", "medoid"):
        named[f"cosine_{templates}"] = ("cosine", templates, x, labels, *parts(labels, 7, 3))
        named[f"euclidean_{templates}"] = ("euclidean", templates, x, labels, *parts(labels, 6, 4))
    # Small integers: ties are ties in any precision.
    named["ties"] = ("squared_euclidean", "per_image", grid, grid_labels, *parts(grid_labels, 8, 1))
    named["ties_of_means"] = ("squared_euclidean", "mean", grid, grid_labels, *parts(grid_labels, 6, 2))
    return named


def closeness(metric, a, b):
    return 1.0 - cdist(a, b, "cosine") if metric == "cosine" else -cdist(a, b, METRICS[metric])


def template(metric, kind, rows):
    if kind == "per_image":
        return rows
    if kind == "mean":
        return (normalize(rows) if metric == "cosine" else rows).mean(axis=0, keepdims=True)
    return rows[[np.argmax(closeness(metric, rows, rows).sum(axis=1))]]


def identify(metric, kind, x, labels, gallery, probes):
    names = list(dict.fromkeys(labels[gallery]))
    enrolled = [x[gallery][labels[gallery] == name] for name in names]
    # [probes, identities]; of several images the best counts.
    table = np.stack([closeness(metric, x[probes], template(metric, kind, rows)).max(axis=1) for rows in enrolled], axis=1)
    mated = np.isin(labels[probes], names)
    order = np.argsort(-table, axis=1, kind="stable")
    place = np.array([names.index(label) if label in names else -1 for label in labels[probes]])
    rank = 1 + np.argmax(order == place[:, None], axis=1)[mated]
    mate = table[mated, place[mated]]
    best = table.max(axis=1)[~mated]
    sign = 1.0 if metric == "cosine" else -1.0
    thresholds, fpirs, tpirs = [], [], []
    for limit in FPIRS:
        # The loosest of all thresholds that make a difference.
        steps = np.unique(np.concatenate([table.ravel(), best, [np.inf]]))
        allowed = [t for t in steps if np.mean(best >= t) <= limit]
        t = min(allowed)
        fpirs.append(np.mean(best >= t))
        tpirs.append([np.mean((mate >= t) & (rank <= r)) for r in RANKS])
    at = np.median(best)
    return {
        "tpir": tpirs,
        "achieved_fpir": fpirs,
        "cmc": [np.mean(rank <= r) for r in range(1, len(names) + 1)],
        "at": sign * at,
        # Not at a score itself, where rounding decides.
        "fpir_at": np.mean(best >= at + 1e-6),
        "tpir_at": [np.mean((mate >= at + 1e-6) & (rank <= r)) for r in RANKS],
        "mated": mated.sum(),
        "non_mated": (~mated).sum(),
    }


def few_shot():
    random = np.random.default_rng(32)
    ways = np.array([30, 4, 17, 8, 21])
    centres = random.normal(size=(5, 7)) * 0.8
    samples = np.concatenate([centre + random.normal(size=(6, 7)) for centre in centres]).astype(np.float32)
    labels = np.repeat(ways, 6)
    # Classes of unlike sizes, in mixed order.
    kept = random.permutation(len(labels))[:24]
    samples, labels = samples[kept], labels[kept]
    queries = np.concatenate([centre + random.normal(size=(30, 7)) for centre in centres]).astype(np.float32)
    queries *= random.uniform(0.2, 4.0, size=(150, 1)).astype(np.float32)
    s, q = samples.astype(np.float64), queries.astype(np.float64)
    names = np.unique(labels)
    centroids = np.stack([s[labels == name].mean(axis=0) for name in names])
    said = {
        "prototype": NearestCentroid().fit(s, labels).predict(q),
        "unit_prototype": NearestCentroid().fit(normalize(s), labels).predict(normalize(q)),
        "cosine_prototype": names[np.argmax(cosine_similarity(q, centroids), axis=1)],
        "nearest_neighbour": KNeighborsClassifier(1).fit(s, labels).predict(q),
    }
    for k in (3, 7):
        votes = KNeighborsClassifier(k).fit(s, labels)
        found = labels[votes.kneighbors(q, return_distance=False)]
        counts = np.sort(np.stack([(found == name).sum(axis=1) for name in names]), axis=0)
        # scikit-learn gives ties to the smallest label: those are left out.
        said[f"vote_{k}"] = votes.predict(q)
        said[f"vote_{k}_counts"] = counts[-1] > counts[-2]
    arrays = {name: np.asarray(answer, dtype=np.uint32) for name, answer in said.items()}
    return {"samples": samples, "labels": labels.astype(np.uint32), "queries": queries} | arrays


def main():
    cases = {}
    for name, (metric, kind, x, labels, gallery, probes) in galleries().items():
        x = x.astype(np.float32)
        results = identify(metric, kind, x.astype(np.float64), labels, gallery, probes)
        cases[name] = (
            {"metric": metric, "templates": kind, "fpirs": FPIRS, "ranks": RANKS},
            {"embeddings": x, "labels": labels.astype(np.uint32)}
            | {"gallery": gallery.astype(np.uint32), "probes": probes.astype(np.uint32)}
            | {key: np.asarray(value, dtype=np.float64) for key, value in results.items()},
        )
    cases["few_shot"] = ({"metric": "euclidean"}, few_shot())
    save("eval/recognition.safetensors", cases)


if __name__ == "__main__":
    main()
