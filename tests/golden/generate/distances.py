#!/usr/bin/env python3
"""Makes `distances.safetensors`: pairwise matrices D and the gradients of Σ W∘D. README.md says how to run it."""

import numpy as np

import patches
from batches import double
from golden_file import save
from references.base import distance
from references.definitions import ball, hyperbolic_distances

METRICS = ("cosine", "dot", "euclidean", "squared_euclidean", "lp:1", "lp:3", "lp:1.5", "snr")
CURVATURES, CLIP = (0.01, 0.1, 1.0), 2.3


def inputs(random):
    """Rows and columns: some equal, some opposite, one of each pair; random weights."""
    x, y = random.normal(size=(6, 5)), random.normal(size=(7, 5))
    y[1], y[2] = x[1], -x[2]
    return x.astype(np.float32), y.astype(np.float32), random.normal(size=(6, 7)).astype(np.float32)


def case(function, random):
    rows, columns, weights = inputs(random)
    x, y = double(rows, leaf=True), double(columns, leaf=True)
    matrix = function(x, y)
    (matrix * double(weights)).sum().backward()
    return {
        "rows": rows,
        "columns": columns,
        "weights": weights,
        "matrix": matrix.detach().numpy(),
        "rows_gradient": x.grad.numpy(),
        "columns_gradient": y.grad.numpy(),
    }


def in_ball(curvature):
    return lambda x, y: hyperbolic_distances(ball(x, curvature, CLIP), ball(y, curvature, CLIP), curvature)


def main():
    patches.apply()
    random = np.random.default_rng(20240307)
    cases = {}
    for metric in METRICS:
        for normalize in (False, True):
            description = {"metric": metric, "normalize": normalize}
            name = metric.replace(":", "_") + ("_normalized" if normalize else "")
            cases[name] = (description, case(distance(metric, normalize), random))
    for curvature in CURVATURES:
        description = {"metric": f"hyperbolic:{curvature}", "normalize": False, "clip": CLIP}
        outputs = case(in_ball(curvature), random)
        for side in ("rows", "columns"):
            outputs[f"{side}_in_ball"] = ball(double(outputs[side]), curvature, CLIP).numpy()
        cases[f"hyperbolic_{curvature}"] = (description, outputs)
    for name, (_, outputs) in cases.items():
        if not all(np.isfinite(array).all() for array in outputs.values()):
            raise ValueError(f"{name} is not finite")
    save("distances.safetensors", cases)


if __name__ == "__main__":
    main()
