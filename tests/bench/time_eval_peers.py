#!/usr/bin/env python3
"""Times faiss, NumPy and pytorch-metric-learning's calculator on the cases of `tests/src/bin/time_eval.rs`, by the same protocol.

Takes the folder where that program leaves the vectors of a case. `cargo xtask bench eval --peers` drives it.
"""

import json
import os
import sys
import time
from pathlib import Path

import faiss
import numpy as np
import pytorch_metric_learning
import torch
from peak import peak
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import FaissKMeans, FaissKNN

# As in time_eval.rs.
SHORT = 3.0
MEASURES = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_average_precision", "mean_reciprocal_rank")


def product(case, x):
    x @ x.T


def search(case, x):
    index = faiss.IndexFlatIP(case["d"])
    index.add(x)
    queries = x[: case["params"]["queries"]] if case["params"]["queries"] else x
    index.search(queries, case["params"]["k"])


def metrics(case, x):
    include = MEASURES + (("NMI",) if case["loss"] == "metrics_and_nmi" else ())
    calculator = AccuracyCalculator(
        include=include,
        k=case["params"]["k"],
        device=torch.device("cpu"),
        knn_func=FaissKNN(index_init_fn=faiss.IndexFlatIP),
        kmeans_func=FaissKMeans(niter=20),
    )
    labels = np.arange(case["n"]) % case["classes"]
    calculator.get_accuracy(x, labels)


WORK = {
    "product": ("numpy", product),
    "self_search": ("faiss", search),
    "gallery_search": ("faiss", search),
    "metrics": ("pml", metrics),
    "metrics_and_nmi": ("pml", metrics),
}


def turn(case, folder):
    if case["loss"] not in WORK:
        return {"seconds": {}, "bytes": {}}
    contestant, work = WORK[case["loss"]]
    x = np.fromfile(folder / f"{case['n']}x{case['d']}x{case['classes']}.f32", dtype="<f4").reshape(case["n"], case["d"])
    seconds = []

    def once():
        start = time.perf_counter()
        work(case, x)
        seconds.append(time.perf_counter() - start)

    grown = peak(once)
    if seconds[0] < SHORT:
        seconds.clear()
        for _ in range(3):
            once()
    return {"seconds": {contestant: seconds}, "bytes": {contestant: grown}}


def main():
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))
        faiss.omp_set_num_threads(int(threads))
    versions = f"faiss {faiss.__version__}, pytorch-metric-learning {pytorch_metric_learning.__version__}, NumPy {np.__version__}"
    print(json.dumps({"program": versions, "threads": faiss.omp_get_max_threads()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(json.loads(line), Path(sys.argv[1]))), flush=True)


if __name__ == "__main__":
    main()
