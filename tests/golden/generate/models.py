#!/usr/bin/env python3
"""Makes `models/<case>.json`: embeddings and gradients of known networks, in float64, with the weights of `formula.py`.

And `models/formula.json`, a few values of the formula itself. `models.py NAME...` makes only those. See README.md.
"""

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import formula
from networks import CASES
from networks.case import record

DIRECTORY = Path(__file__).parents[1] / "models"
PACKAGES = ("numpy", "torch", "torchvision", "timm", "transformers", "sentence-transformers", "pretrainedmodels")
KINDS = ("weight", "embedding", "gain", "slope", "bias", "mean", "variance")


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def lines(values, brackets):
    return brackets[0] + "\n" + ",\n".join(values) + "\n" + brackets[1]


def write(name, parts):
    """Parts by name, each on lines of its own."""
    versions = {"python": platform.python_version()} | {package: version(package) for package in PACKAGES}
    parts = {"versions": dump(versions)} | parts
    text = lines([f'"{key}":{part}' for key, part in parts.items()], "{}") + "\n"
    json.loads(text)
    path = DIRECTORY / f"{name}.json"
    path.write_text(text)
    return path.stat().st_size


def examples():
    """The first elements of a tensor of each kind; float32 as the shortest decimals that say it."""
    plain = lambda array: [float(str(value)) for value in array.ravel()]
    values = {kind: plain(formula.tensor("layer.weight", (4, 6), kind)) for kind in KINDS}
    uniform = {name: plain(formula.uniform(name, (4,))) for name in ("input", "probe", "ids", "dot:conv1.weight", "é")}
    return {
        "uniform": dump(uniform),
        "ids": dump(formula.whole("ids", (12,), 100).tolist()),
        "fnv1a64": dump({name: f"{formula.fnv1a64(name):016x}" for name in uniform}),
        "shape": dump([4, 6]),
        "layer.weight": lines([f'"{kind}":{dump(row)}' for kind, row in values.items()], "{}"),
    }


def main():
    torch.set_num_threads(1)
    DIRECTORY.mkdir(exist_ok=True)
    np.seterr(over="ignore")
    if not sys.argv[1:]:
        print(f"formula.json: {write('formula', examples())} bytes")
    for name in sys.argv[1:] or CASES:
        start = time.perf_counter()
        kept = record(CASES[name])
        parts = {
            "config": dump(kept["config"]),
            "tensors": lines([dump(row) for row in kept["tensors"]], "[]"),
            "runs": lines([f'"{title}":{dump(run)}' for title, run in kept["runs"].items()], "{}"),
        }
        size = write(name, parts)
        print(f"{name}.json: {size} bytes, {time.perf_counter() - start:.0f} s", flush=True)
        for title, run in kept["runs"].items():
            largest = max(map(abs, run["embedding"]["values"]))
            print(f"  {title}: up to {largest:.2g}, rows {run['rows_apart']} apart; float32 off by {run['float32']}", flush=True)


if __name__ == "__main__":
    main()
