#!/usr/bin/env python3
"""Makes `eval/correlation.safetensors`: how close pairs of rows are against what people found. README.md says how to run it. The
same versions give the same bytes.

Closeness is scipy's cosine similarity, or minus its distance, in float64 of the float32 rows; `spearmanr` and `pearsonr` are scipy's.
"""

import numpy as np
from scipy.spatial.distance import cosine, euclidean, sqeuclidean
from scipy.stats import pearsonr, spearmanr

from golden_file import save

CLOSENESS = {
    "cosine": lambda a, b: 1.0 - cosine(a, b),
    "euclidean": lambda a, b: -euclidean(a, b),
    "squared_euclidean": lambda a, b: -sqeuclidean(a, b),
    "dot": lambda a, b: float(np.dot(a, b)),
}


def pairs():
    """Name -> (left rows, right rows, what people found), float32."""
    random = np.random.default_rng(51)
    left = random.normal(size=(60, 6))
    apart = random.uniform(0, 2, size=(60, 1))
    right = left + apart * random.normal(size=(60, 6))
    found = 5.0 - 2.0 * apart[:, 0] + random.normal(size=60) * 0.5
    # Small integers: their dot products and squared distances tie exactly; half of what was found is one of two values.
    grid = random.integers(-2, 3, size=(2, 60, 3))
    few = np.where(random.random(60) < 0.5, random.integers(0, 2, size=60), random.integers(0, 11, size=60) / 2)
    named = {
        "graded": (left, right, found),
        "halves": (left, right, np.round(2 * found) / 2),
        "turned": (left, right, -found),
        "ties": (grid[0], grid[1], few),
    }
    return {name: tuple(np.asarray(array, dtype=np.float32) for array in arrays) for name, arrays in named.items()}


def main():
    cases = {}
    for name, (left, right, found) in pairs().items():
        for metric, closeness in CLOSENESS.items():
            if name == "ties" and metric not in ("dot", "squared_euclidean"):
                # Rounding decides which are equal.
                continue
            close = np.array([closeness(a, b) for a, b in zip(left.astype(np.float64), right.astype(np.float64))])
            results = {
                "spearman": spearmanr(close, found).statistic,
                "pearson": pearsonr(close, found.astype(np.float64)).statistic,
            }
            cases[f"{name}_{metric}"] = (
                {"metric": metric},
                {"left": left, "right": right, "found": found} | {key: np.float64(value) for key, value in results.items()},
            )
    save("eval/correlation.safetensors", cases)


if __name__ == "__main__":
    main()
