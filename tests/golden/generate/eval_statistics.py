#!/usr/bin/env python3
"""Makes `eval/statistics.safetensors`: Wilson and Student intervals, and clustered bootstraps, all by scipy."""

import numpy as np
import scipy.stats

from golden_file import save


def wilson():
    counts = [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (57, 100), (5924, 5925), (3000, 8131)]
    intervals = [scipy.stats.binomtest(k, n).proportion_ci(method="wilson") for k, n in counts]
    return {"counts": np.asarray(counts, dtype=np.uint32), "intervals": np.asarray(intervals)}


def student():
    """97.5 % quantiles, by way of the half-width for values whose standard deviation is known."""
    freedoms = [1, 2, 5, 30, 999, 1000, 1001, 5000, 60501]
    return {"freedoms": np.asarray(freedoms, dtype=np.uint32), "quantiles": scipy.stats.t.ppf(0.975, freedoms)}


def clustered(seed, sizes):
    """Hits of two runs on the queries of classes; intervals of the micro and macro mean, and of the runs' difference."""
    random = np.random.default_rng(seed)
    classes = np.repeat(np.arange(len(sizes)), sizes)
    ease = random.beta(3, 2, len(sizes))[classes]
    first = (random.random(len(classes)) < ease).astype(np.float64)
    second = (random.random(len(classes)) < 0.9 * ease).astype(np.float64)

    def sums(values):
        return np.bincount(classes, values), np.asarray(sizes, dtype=np.float64)

    def interval(of, statistic):
        result = scipy.stats.bootstrap(
            of, statistic, paired=True, vectorized=True, method="percentile", n_resamples=20000, rng=random, batch=1000
        )
        return [result.confidence_interval.low, result.confidence_interval.high, result.standard_error]

    def ratio(sums, counts, axis):
        return sums.sum(axis=axis) / counts.sum(axis=axis)

    def mean(sums, counts, axis):
        return (sums / counts).mean(axis=axis)

    return {
        "classes": classes.astype(np.uint32),
        "first": first,
        "second": second,
        "micro": np.asarray(interval(sums(first), ratio)),
        "macro": np.asarray(interval(sums(first), mean)),
        "difference": np.asarray(interval(sums(first - second), ratio)),
    }


def main():
    random = np.random.default_rng(30)
    cases = {
        "wilson": ({}, wilson()),
        "student": ({}, student()),
        "even_classes": ({}, clustered(31, [8] * 25)),
        "uneven_classes": ({}, clustered(32, random.integers(1, 20, 40))),
        "single_queries": ({}, clustered(33, [1] * 80)),
    }
    save("eval/statistics.safetensors", cases)


if __name__ == "__main__":
    main()
