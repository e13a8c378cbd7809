#!/usr/bin/env python3
"""Times faiss's flat index on the cases of `tests/src/bin/time_gallery.rs`, by the same protocol.

Takes the folder where that program leaves the vectors of a case. `cargo xtask bench gallery --peers` drives it.
"""

import json
import os
import sys
import time
from pathlib import Path

import faiss
import numpy as np
from peak import peak

INDICES = {}


def opened(case, folder):
    """The index of a case, made once: a gallery is open before anybody asks."""
    key = (case["n"], case["d"])
    if key not in INDICES:
        x = np.fromfile(folder / f"{case['n']}x{case['d']}.f32", dtype="<f4").reshape(key)
        index = faiss.IndexFlatIP(case["d"])
        index.add(x)
        INDICES.clear()
        INDICES[key] = (index, x[:1024].copy())
    return INDICES[key]


def turn(case, folder):
    if case["loss"] not in ("identify", "open"):
        return {"seconds": {}, "bytes": {}}
    index, x = opened(case, folder)
    file = folder / f"{case['n']}.faiss"
    if case["loss"] == "open":
        faiss.write_index(index, str(file))
    probes, k = x[: case["params"]["probes"]], case["params"]["k"]
    seconds = []

    def once():
        start = time.perf_counter()
        if case["loss"] == "open":
            faiss.read_index(str(file))
        else:
            index.search(probes, k)
        seconds.append(time.perf_counter() - start)

    grown = peak(once)
    seconds.clear()
    for _ in range(7):
        once()
    return {"seconds": {"faiss": seconds}, "bytes": {"faiss": grown}}


def main():
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        faiss.omp_set_num_threads(int(threads))
    print(json.dumps({"program": f"faiss {faiss.__version__}", "threads": faiss.omp_get_max_threads()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(json.loads(line), Path(sys.argv[1]))), flush=True)


if __name__ == "__main__":
    main()
