#!/usr/bin/env python3
"""Makes `eval/diagnostics.safetensors`: what numpy, scipy, scikit-learn and torch say of embedding spaces. README.md says how
to run it. The same versions give the same bytes.

Distances are scipy's over all pairs, spectra numpy's SVD and scikit-learn's PCA with scipy's entropy, skewness scipy's, alignment
and uniformity the formulas of Wang & Isola in torch, density the definition of Roth et al. over pairs, all in float64.
"""

import numpy as np
import scipy.stats
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA

from golden_file import save

SHARES = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
VARIANCE = [0.5, 0.9, 0.95, 0.99]
SCIPY = {"euclidean": "euclidean", "squared_euclidean": "sqeuclidean", "cosine": "cosine", "lp:3": "minkowski"}


def sets():
    """Name -> (metric, neighbours, embeddings [n, d], labels [n])."""
    random = np.random.default_rng(21)

    def classes(d, spread, *sizes):
        labels = random.permutation(np.repeat(3 * np.arange(len(sizes)) + 1, sizes))
        centres = random.normal(size=(labels.max() + 1, d))
        return centres[labels] + spread * random.normal(size=(len(labels), d)), labels

    x, labels = classes(6, 0.6, 12, 9, 8, 7, 3, 1)
    shifted = x * np.array([8, 4, 2, 1, 0.1, 0.01]) + 20.0
    return {
        "blobs": ("euclidean", 5, x, labels),
        "blobs_squared": ("squared_euclidean", 3, x, labels),
        "shifted_and_stretched": ("lp:3", 4, shifted, labels),
        "directions": ("cosine", 10, *classes(9, 0.9, 20, 15, 10, 5)),
        "more_dimensions_than_rows": ("cosine", 2, *classes(20, 0.5, 4, 4, 3, 1)),
    }


def spread(values):
    return np.concatenate([[np.mean(values), np.std(values, ddof=1)], np.quantile(values, SHARES)])


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def distances(metric, x, labels):
    between = pdist(x, SCIPY[metric], **({"p": 3} if metric == "lp:3" else {}))
    first, second = np.triu_indices(len(x), 1)
    same = labels[first] == labels[second]
    compared = unit(x) if metric == "cosine" else x
    squares = pdist(compared, "sqeuclidean")
    names = np.unique(labels)
    centres = np.stack([compared[labels == c].mean(0) for c in names])
    apart = squareform(pdist(centres)) + np.diag(np.full(len(names), np.inf))
    return {
        "intra": spread(between[same]),
        "inter": spread(between[~same]),
        "pairs": [same.sum(), (~same).sum()],
        "mean_square": [squares[same].mean(), squares[~same].mean()],
        "class_mean_square": [pdist(compared[labels == c], "sqeuclidean").mean() if (labels == c).sum() > 1 else -1 for c in names],
        "class_to_centre": [np.linalg.norm(compared[labels == c] - m, axis=1).mean() for c, m in zip(names, centres)],
        "class_nearest": names[apart.argmin(1)],
        "class_nearest_distance": apart.min(1),
    }


def density(x, labels):
    names = np.unique(labels)
    intra = np.mean([pdist(x[labels == c], "cosine").mean() for c in names if (labels == c).sum() > 1])
    inter = pdist(np.stack([unit(x[labels == c]).mean(0) for c in names]), "cosine").mean()
    return {"density": [intra, inter, intra / inter]}


def spectrum(x, as_single):
    sigma = np.linalg.svd(x, compute_uv=False)
    uniform = np.full(len(sigma), 1 / len(sigma))
    shares = sigma / sigma.sum()
    variances = np.clip(np.linalg.eigvalsh(np.cov(x.T))[::-1], 0, None)
    variances[min(len(x) - 1, x.shape[1]) :] = 0
    ratios = np.cumsum(PCA(svd_solver="full").fit(x).explained_variance_ratio_)
    smoothed = shares + 1e-7
    return {
        "singular_values": sigma,
        "variances": variances,
        "rho_spectrum": scipy.stats.entropy(uniform, shares),
        "rho_spectrum_reversed": scipy.stats.entropy(shares, uniform),
        "rho_spectrum_without_2": scipy.stats.entropy(uniform[2:], sigma[2:]),
        "effective_rank": np.exp(scipy.stats.entropy(sigma)),
        "rank_me": np.exp(-np.sum(smoothed * np.log(smoothed))),
        "effective_rank_centred": np.exp(scipy.stats.entropy(np.sqrt(variances))),
        "participation_ratio": variances.sum() ** 2 / np.square(variances).sum(),
        "components": [np.argmax(ratios >= share) + 1 for share in VARIANCE],
        "rank": np.linalg.matrix_rank(as_single - as_single.mean(0)),
    }


def hubness(metric, x, k):
    apart = squareform(pdist(x, SCIPY[metric], **({"p": 3} if metric == "lp:3" else {})))
    np.fill_diagonal(apart, np.inf)
    counts = np.bincount(np.argsort(apart, axis=1, kind="stable")[:, :k].ravel(), minlength=len(x))
    hubs = counts >= 2 * k
    return {
        "counts": counts,
        "hubness": [
            scipy.stats.skew(counts),
            counts.max(),
            hubs.mean(),
            counts[hubs].sum() / counts.sum(),
            (counts == 0).mean(),
            0.5 * np.abs(counts - counts.mean()).sum() / counts.sum(),
        ],
    }


def sphere(x, labels):
    x = torch.nn.functional.normalize(torch.tensor(x), dim=1)
    first, second = np.triu_indices(len(x), 1)
    same = labels[first] == labels[second]
    a, b = x[first[same]], x[second[same]]
    return {
        "alignment": (a - b).norm(dim=1).pow(2).mean().item(),
        "alignment_1": (a - b).norm(dim=1).mean().item(),
        "uniformity": torch.pdist(x).pow(2).mul(-2).exp().mean().log().item(),
        "uniformity_5": torch.pdist(x).pow(2).mul(-5).exp().mean().log().item(),
    }


def main():
    cases = {}
    for name, (metric, k, x, labels) in sets().items():
        single, labels = np.asarray(x, dtype=np.float32), labels.astype(np.uint32)
        x = single.astype(np.float64)
        compared, compared_single = (unit(x), unit(single)) if metric == "cosine" else (x, single)
        results = {"norms": spread(np.linalg.norm(x, axis=1))}
        results |= distances(metric, x, labels) | density(x, labels) | spectrum(compared, compared_single)
        results |= hubness(metric, x, k) | sphere(x, labels)
        numbers = {key: np.asarray(value, dtype=np.float64) for key, value in results.items()}
        cases[name] = ({"metric": metric, "neighbours": k}, {"embeddings": single, "labels": labels} | numbers)
    save("eval/diagnostics.safetensors", cases)


if __name__ == "__main__":
    main()
