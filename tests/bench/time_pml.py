#!/usr/bin/env python3
"""Times pytorch-metric-learning (PML) on the cases of `tests/src/bin/time_losses.rs`, by the same protocol.

Greets with a line, then reads cases, one JSON object a line, and answers each with
`{"seconds": {"pml": [seconds of each repetition]}}`. `cargo xtask bench losses --peers` drives it.
"""

import json
import os
import sys
import time
from pathlib import Path

import pytorch_metric_learning
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "golden"))
from pml_losses import reference  # noqa: E402

# PML lists all triplets from masks of n×n×n bytes, a few of them at a time.
LARGEST_CUBE = 2_000_000_000


def embeddings(labels, dim):
    """As tests/src/batch.rs: shared + centre of the class + noise."""
    generator = torch.Generator().manual_seed(2)
    direction = lambda count: torch.randn(count, dim, generator=generator) / dim**0.5
    return 1.2 * direction(1) + direction(int(labels.max()) + 1)[labels] + 0.8 * direction(len(labels))


def turn(case):
    n = case["n"]
    if case["loss"] == "prototypical":
        return {"skipped": {"pml": "PML has no such loss"}}
    if case["params"].get("mining") in ("all", "semi_hard") and n**3 > LARGEST_CUBE:
        return {"skipped": {"pml": f"PML's masks of n×n×n bytes want {n**3 / 1e9:.1f} GB each"}}
    torch.manual_seed(1)
    labels = torch.arange(n) // case["per_class"]
    batch = embeddings(labels, case["d"]).requires_grad_()
    loss = reference(case["loss"], case["params"], case["d"], case["classes"])
    if case["loss"] == "n_pairs" and case["params"]["l2"] == 0:
        loss = loss.loss  # Without the reference's own search for pairs, whose result is then unused.
    weight = getattr(loss, "weight", None)

    def forward_backward():
        batch.grad = None
        if weight is not None:
            weight.grad = None
        loss(batch, labels).backward()
        return batch.grad.numpy(), None if weight is None else weight.grad.numpy()

    forward_backward()
    seconds, started = [], time.perf_counter()
    while not seconds or time.perf_counter() - started < case["budget_s"]:
        before = time.perf_counter()
        forward_backward()
        seconds.append(time.perf_counter() - before)
    return {"seconds": {"pml": seconds}}


def main():
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))
    versions = f"pytorch-metric-learning {pytorch_metric_learning.__version__}, PyTorch {torch.__version__}"
    print(json.dumps({"program": versions, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
