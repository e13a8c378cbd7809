#!/usr/bin/env python3
"""Times pytorch-metric-learning (PML) on the cases of `tests/src/bin/time_losses.rs`, by the same protocol.

Greets with a line, then reads cases, one JSON object a line, and answers each with
`{"seconds": {"pml": [seconds of each repetition]}, "bytes": {"pml": peak memory beyond the inputs}}`.
`cargo xtask bench losses --peers` drives it.
"""

import json
import os
import sys
import time
from pathlib import Path

import pytorch_metric_learning
import torch

from peak import peak

sys.path.insert(0, str(Path(__file__).parent.parent / "golden" / "generate"))
from references import pml  # noqa: E402
from references.base import PLAIN  # noqa: E402

# Of the tensors that PML makes beyond n×n, a few of them at a time.
LARGEST_CUBE = 4e9
# A case whose first repetition takes this many seconds is measured by it alone.
SLOW = 1.0
# Cases that were slow, by title and size, with their answer.
measured = {}


def embeddings(labels, dim):
    """As tests/src/batch.rs: shared + centre of the class + noise."""
    generator = torch.Generator().manual_seed(2)
    direction = lambda count: torch.randn(count, dim, generator=generator) / dim**0.5
    return 1.2 * direction(1) + direction(int(labels.max()) + 1)[labels] + 0.8 * direction(len(labels))


def cube(loss, mining, n, k):
    """Bytes of the largest such tensor, for `k` rows of each class."""
    if loss in ("triplet", "margin", "dynamic_soft_margin", "histogram") and mining != "batch_hard":
        return n**3  # A mask of all triplets.
    if loss in ("pnp", "smooth_ap"):
        return 4 * n**3  # Differences of all scores of a row.
    if loss in ("lifted_structure", "nt_xent", "tuplet_margin"):
        return 8 * n * (k - 1) * n * (n - k)  # Every positive pair with every negative pair, twice.
    return 0


def repeat(name, work, budget, key):
    """Seconds of each repetition of `work` until the time is up."""
    if key in measured:
        return measured[key]
    started = time.perf_counter()
    grown = peak(work)
    first = time.perf_counter() - started
    seconds, started = [], time.perf_counter()
    if first > SLOW:
        seconds = [first]
    while not seconds or (first <= SLOW and time.perf_counter() - started < budget):
        before = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - before)
    answer = {"seconds": {name: seconds}, "bytes": {name: grown}}
    if first > SLOW:
        measured[key] = answer
    return answer


def turn(case):
    n = case["n"]
    key = (case["title"], n)
    if case["loss"] == "gemm":
        x = embeddings(torch.arange(n) // case["per_class"], case["d"])
        return repeat("torch", lambda: x @ x.t(), case["budget_s"], key)
    size = cube(case["loss"], case["params"].get("mining"), n, case["per_class"])
    if size > LARGEST_CUBE:
        return {"skipped": {"pml": f"PML's largest tensors want {size / 1e9:.1f} GB each"}}
    if case["loss"] == "manifold" and n > 1024:
        return {"skipped": {"pml": "PML inverts a matrix of n rows, with its graph: out of memory at 4,096"}}
    if n * n > 1 << 30 or case["params"].get("sample_rate", 1) < 1:
        return {"skipped": {"pml": "PML does not do this"}}
    torch.manual_seed(1)
    labels = torch.arange(n) // case["per_class"]
    if case["classes"] > 0:
        labels = labels % case["classes"]
    batch = embeddings(labels, case["d"]).requires_grad_()
    try:
        loss = pml(case["loss"], case["params"], case["d"], case["classes"])
    except KeyError:
        return {"skipped": {"pml": "PML has no such loss"}}
    if PLAIN not in loss.kinds:
        return {"skipped": {"pml": "not a loss of one labelled batch"}}
    learned = list(loss.learned.values())

    def forward_backward():
        batch.grad = None
        for parameter in learned:
            parameter.tensor.grad = None
        loss(batch, labels).backward()
        return batch.grad.numpy(), [parameter.gradient.numpy() for parameter in learned]

    return repeat("pml", forward_backward, case["budget_s"], key)


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
