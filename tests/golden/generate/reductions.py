#!/usr/bin/env python3
"""Makes `reductions.safetensors`: losses under each of PML's reducers. README.md says how to run it."""

import numpy as np
import torch
from pytorch_metric_learning import reducers

import patches
from batches import all_batches, classes_of, double
from golden_file import save
from parameters import LOSSES
from references import reference

NAMES = ("contrastive", "multi_similarity", "normalized_softmax", "triplet")
BATCHES = ("10x6_uneven", "12x6_3_each", "6x5_lone_sample", "5x4_one_class")
CLASS_WEIGHTS = [0.5, 2.0, 1.0, 0.25]


class Divided(reducers.SumReducer):
    """PML's DivisorReducer, for any loss: the sum over a number, here a given one."""

    def __init__(self, divisor):
        super().__init__()
        self.divisor = divisor

    def element_reduction(self, losses, *_):
        return losses.sum() / self.divisor


class PerAnchor(reducers.PerAnchorReducer):
    """PML's, which refuses triplets: here an anchor's mean over its triplets, too."""

    def triplet_reduction(self, losses, loss_indices, embeddings, labels):
        count = torch.zeros(len(embeddings), dtype=losses.dtype).index_add(0, loss_indices[0], torch.ones_like(losses))
        total = torch.zeros(len(embeddings), dtype=losses.dtype).index_add(0, loss_indices[0], losses)
        return (total / count.clamp(min=1)).mean()


class ClassWeighted(reducers.ClassWeightedReducer):
    """PML's, of one term per row: its multi-similarity terms are `[n, 1]`, and times weights `[n]` make a matrix."""

    def element_reduction_helper(self, losses, indices, labels):
        return super().element_reduction_helper(losses.flatten(), indices, labels)


# Our setting -> PML's reducer.
REDUCTIONS = {
    "mean": ("mean", reducers.MeanReducer),
    "sum": ("sum", reducers.SumReducer),
    "mean_non_zero": ("mean_non_zero", reducers.AvgNonZeroReducer),
    "per_anchor": ("per_anchor", PerAnchor),
    "threshold": ({"threshold": {"low": 0.1, "high": 0.8}}, lambda: reducers.ThresholdReducer(low=0.1, high=0.8)),
    "threshold_low": ({"threshold": {"low": 0.3}}, lambda: reducers.ThresholdReducer(low=0.3)),
    "threshold_high": ({"threshold": {"high": 0.5}}, lambda: reducers.ThresholdReducer(high=0.5)),
    "class_weighted": (
        {"class_weighted": CLASS_WEIGHTS},
        lambda: ClassWeighted(torch.tensor(CLASS_WEIGHTS, dtype=torch.float64)),
    ),
    "divisor": ({"divisor": 7.0}, lambda: Divided(7.0)),
    "none": ("none", reducers.DoNothingReducer),
}


def per_anchor_sums(parts, n):
    """What a loss gives without a reduction: its terms, added for each anchor `[n]`."""
    sums = torch.zeros(n, dtype=torch.float64)
    for part in parts.values():
        if part["indices"] is not None and torch.is_tensor(part["losses"]):
            indices = part["indices"]
            anchors = indices if torch.is_tensor(indices) else indices[0]
            sums = sums.index_add(0, anchors, part["losses"].flatten())
    return sums


def evaluate(name, params, make_reducer, batch):
    loss = reference(name, params, batch.embeddings.shape[1], batch.classes)
    loss.loss.set_reducer(make_reducer())
    for learned in loss.learned.values():
        learned.set(double(batch.extra["proxies"]))
    x = double(batch.embeddings, leaf=True)
    value = loss(x, classes_of(batch.labels))
    if isinstance(value, dict):
        return {"value": per_anchor_sums(value, len(x)).detach().numpy()}
    value.backward()
    gradients = {f"{of}_gradient": learned.gradient.numpy() for of, learned in loss.learned.items()}
    return {"value": np.float64(value.item()), "gradient": x.grad.numpy()} | gradients


def main():
    patches.apply()
    batches = all_batches()
    cases = {}
    for name in NAMES:
        params = LOSSES[name]["default"]
        for case, (reduction, make_reducer) in REDUCTIONS.items():
            outputs = {
                f"{batch}/{output}": array
                for batch in BATCHES
                for output, array in evaluate(name, params, make_reducer, batches[batch]).items()
            }
            if not all(np.isfinite(array).all() for array in outputs.values()):
                raise ValueError(f"{name} {case} is not finite")
            cases[f"{name}_{case}"] = ({"loss": name, "params": params, "reduction": reduction}, outputs)
    save("reductions.safetensors", cases)


if __name__ == "__main__":
    main()
