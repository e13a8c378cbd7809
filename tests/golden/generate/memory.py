#!/usr/bin/env python3
"""Makes `losses/memory.safetensors`, losses in PML's cross-batch memory, and `states.safetensors`, losses with a state.

Step by step, each with its own batch. See README.md.
"""

import numpy as np
import torch
from pytorch_metric_learning import losses

import patches
from batches import classes_of, double, proxies_for, rows
from golden_file import save
from parameters import LOSSES
from references import reference

# PML's memory is ours with batch_weight 0.
PML_MEMORY = {"size": 10, "start_step": 0, "weight": 1.0, "batch_weight": 0.0}

DEFAULTS = (
    "angular",
    "circle",
    "contrastive",
    "generalized_lifted_structure",
    "intra_pair_variance",
    "lifted_structure",
    "margin",
    "multi_similarity",
    "nca",
    "nt_xent",
    "snr_contrastive",
    "sup_con",
    "triplet",
    "tuplet_margin",
)

# Case -> loss, its case of parameters, memory.
CASES = {name: (name, "default", PML_MEMORY) for name in DEFAULTS} | {
    "contrastive_cosine": ("contrastive", "cosine", PML_MEMORY),
    # The sum of Wang et al. 2020, weighted, after a step without memory.
    "contrastive_as_the_paper": (
        "contrastive",
        "default",
        PML_MEMORY | {"start_step": 1, "weight": 0.5, "batch_weight": 2.0},
    ),
    "triplet_semi_hard": ("triplet", "semi_hard", PML_MEMORY),
    "triplet_batch_hard_soft": ("triplet", "batch_hard_soft", PML_MEMORY),
    "multi_similarity_mined": ("multi_similarity", "mined_softly", PML_MEMORY),
}

# Labels of the steps: the memory of 10 is filled in the second and overrun in the third, across its end. Every class has
# two rows in its batch, because PML's miners count a row's own entry in the memory as its positive, and ours do not.
LABELS = [[0, 0, 1, 1], [0, 2, 0, 2, 1, 1], [2, 2, 0, 0], [1, 2, 1, 2]]

# Case -> loss and its case of parameters.
STATES = {
    "dynamic_soft_margin": ("dynamic_soft_margin", "default"),
    "dynamic_soft_margin_fast": ("dynamic_soft_margin", "fine"),
    "ada_face": ("ada_face", "default"),
    "ada_face_fast": ("ada_face", "wide"),
}


class NCALoss(losses.NCALoss):
    """PML compares a row with its own entry in the memory, whose distance is 0; here only with the pairs it is given."""

    def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
        scores = -self.softmax_scale * self.distance(embeddings, ref_emb)
        positive, all_pairs = torch.full_like(scores, -np.inf), torch.full_like(scores, -np.inf)
        for a, b, targets in ((*indices_tuple[:2], (positive, all_pairs)), (*indices_tuple[2:], (all_pairs,))):
            for target in targets:
                target[a, b] = scores[a, b]
        kept = torch.isfinite(positive).any(1)
        each = (all_pairs.logsumexp(1) - positive.logsumexp(1))[kept]
        return {"loss": {"losses": each, "indices": torch.where(kept)[0], "reduction_type": "element"}}


def remember(name, params, memory, steps):
    """Value and gradient of each step of a loss with a memory."""
    dim = steps[0][0].shape[1]
    alone = reference(name, params, dim, 0)
    around = reference(name, params, dim, 0)
    if name == "nca":
        around.loss = NCALoss(params["softmax_scale"], distance=around.loss.distance)
    against_memory = around.memory(dim, memory["size"])
    outputs = {}
    for step, (embeddings, labels) in enumerate(steps):
        x, y = double(embeddings, leaf=True), classes_of(labels)
        value = against_memory(x, y)
        if step < memory["start_step"]:
            value = alone(x, y)
        elif memory["batch_weight"] != 0:
            value = memory["weight"] * value + memory["batch_weight"] * alone(x, y)
        outputs |= record(step, (embeddings, labels), x, value)
    return outputs


def record(step, batch, x, value):
    value.sum().backward()
    outputs = dict(
        zip(("embeddings", "labels", "value", "gradient"), (*batch, np.float64(value.item()), x.grad.numpy()))
    )
    if not all(np.isfinite(array).all() for array in outputs.values()):
        raise ValueError(f"step {step} is not finite")
    return {f"{step}/{name}": array for name, array in outputs.items()}


def accumulate(name, params, steps):
    """Value and gradients of each step of a loss with a state; the proxies stay."""
    dim = steps[0][0].shape[1]
    loss = reference(name, params, dim, 0)
    outputs = {}
    if loss.learned:
        outputs["proxies"] = proxies_for(4, dim)
        loss.learned["proxies"].set(double(outputs["proxies"]))
    for step, (embeddings, labels) in enumerate(steps):
        x = double(embeddings, leaf=True)
        outputs |= record(step, (embeddings, labels), x, loss(x, classes_of(labels)))
        if loss.learned:
            outputs[f"{step}/proxies_gradient"] = loss.learned["proxies"].gradient.numpy().copy()
            loss.learned["proxies"].tensor.grad = None
    return outputs


def main():
    patches.apply()
    random = np.random.default_rng(7)
    steps = [rows(random, 5, labels, spread=2.0) for labels in LABELS]
    cases = {}
    for case, (loss, of, memory) in CASES.items():
        params = LOSSES[loss][of]
        cases[case] = ({"loss": loss, "params": params, "memory": memory}, remember(loss, params, memory, steps))
    save("losses/memory.safetensors", cases)
    cases = {}
    for case, (loss, of) in STATES.items():
        params = LOSSES[loss][of]
        cases[case] = ({"loss": loss, "params": params}, accumulate(loss, params, steps))
    save("states.safetensors", cases)


if __name__ == "__main__":
    main()
