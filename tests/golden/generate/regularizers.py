#!/usr/bin/env python3
"""Makes `regularizers.safetensors`: PML's regularisers of rows (embeddings or proxies). README.md says how to run it."""

import numpy as np
from pytorch_metric_learning import regularizers

import patches
from batches import double
from golden_file import save

# Case -> our name and parameters, PML's regulariser, the shape of the rows.
CASES = {
    "center_invariant": ("center_invariant", {}, regularizers.CenterInvariantRegularizer, (7, 5)),
    "lp": ("lp", {"p": 2.0, "power": 1.0}, regularizers.LpRegularizer, (7, 5)),
    "lp_squared": ("lp", {"p": 2.0, "power": 2.0}, lambda: regularizers.LpRegularizer(2, 2), (7, 5)),
    "lp_of_1": ("lp", {"p": 1.0, "power": 1.0}, lambda: regularizers.LpRegularizer(1, 1), (7, 5)),
    "lp_of_3": ("lp", {"p": 3.0, "power": 2.0}, lambda: regularizers.LpRegularizer(3, 2), (7, 5)),
    "regular_face": ("regular_face", {}, regularizers.RegularFaceRegularizer, (7, 5)),
    "regular_face_of_2": ("regular_face", {}, regularizers.RegularFaceRegularizer, (2, 3)),
    "sparse_centers": (
        "sparse_centers",
        {"num_classes": 3, "centers_per_class": 4},
        lambda: regularizers.SparseCentersRegularizer(3, 4),
        (12, 5),
    ),
    "sparse_centers_of_2": (
        "sparse_centers",
        {"num_classes": 5, "centers_per_class": 2},
        lambda: regularizers.SparseCentersRegularizer(5, 2),
        (10, 3),
    ),
    "zero_mean": ("zero_mean", {}, regularizers.ZeroMeanRegularizer, (7, 5)),
}


def main():
    patches.apply()
    random = np.random.default_rng(20240306)
    cases = {}
    for case, (name, params, make, shape) in CASES.items():
        rows = random.normal(size=shape).astype(np.float32)
        x = double(rows, leaf=True)
        value = make()(x)
        value.backward()
        outputs = {"rows": rows, "value": np.float64(value.item()), "gradient": x.grad.numpy()}
        cases[case] = ({"regularizer": name, "params": params}, outputs)
    save("regularizers.safetensors", cases)


if __name__ == "__main__":
    main()
