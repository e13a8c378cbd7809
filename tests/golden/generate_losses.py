#!/usr/bin/env python3
"""Makes `losses/*.safetensors`: what the losses of the registry are worth, and their gradients. README.md says how to run it.

Inputs are float32 numbers; everything is computed from them in float64. The same versions give the same bytes.
"""

import numpy as np
import torch

from golden_file import save
from pml_losses import REFERENCES, reference

CONTRASTIVE = {"metric": "euclidean", "pos_margin": 0.0, "neg_margin": 1.0, "normalize": True}
TRIPLET = {"margin": 0.05, "mining": "all", "soft": False, "metric": "euclidean", "normalize": True}
MULTI_SIMILARITY = {"alpha": 2.0, "beta": 50.0, "base": 0.5, "epsilon": None}

# Loss -> case -> parameters; `default` are those of the registry.
PARAMS = {
    "arc_face": {
        "default": {"margin": 28.6, "scale": 64.0},
        "mild": {"margin": 20.0, "scale": 16.0},
        # θ > π − m for most targets: the straight part of the margin.
        "past_the_fold": {"margin": 80.0, "scale": 4.0},
    },
    "contrastive": {
        "default": CONTRASTIVE,
        "margins_on_raw_vectors": CONTRASTIVE | {"pos_margin": 0.2, "neg_margin": 1.5, "normalize": False},
        # Not pos_margin 1: whether 1 − cos of two equal rows is exactly 0 is a matter of rounding, and it is counted.
        "cosine": CONTRASTIVE | {"metric": "cosine", "pos_margin": 0.9, "neg_margin": 0.3},
    },
    "multi_similarity": {
        "default": MULTI_SIMILARITY,
        "mined": MULTI_SIMILARITY | {"beta": 40.0, "epsilon": 0.1},
        "mined_softly": {"alpha": 1.0, "beta": 10.0, "base": 0.7, "epsilon": 0.4},
    },
    "n_pairs": {
        "default": {"normalize": True, "scale": 1.0, "l2": 0.0},
        "raw": {"normalize": False, "scale": 1.0, "l2": 0.0},
        "raw_with_l2": {"normalize": False, "scale": 1.0, "l2": 0.005},
        "cold": {"normalize": True, "scale": 16.0, "l2": 0.0},
    },
    "normalized_softmax": {
        "default": {"temperature": 0.05},
        "warm": {"temperature": 0.25},
        "hot": {"temperature": 1.0},
    },
    "prototypical": {
        "default": {"n_support": 1, "scale": 1.0, "metric": "squared_euclidean"},
        "two_shots": {"n_support": 2, "scale": 0.25, "metric": "squared_euclidean"},
        "cosine": {"n_support": 1, "scale": 10.0, "metric": "cosine"},
    },
    "proxy_anchor": {
        "default": {"margin": 0.1, "alpha": 32.0},
        "wide": {"margin": 0.3, "alpha": 8.0},
        "no_margin": {"margin": 0.0, "alpha": 16.0},
    },
    "proxy_nca": {
        "default": {"softmax_scale": 1.0},
        "plus_plus": {"softmax_scale": 9.0},
        "soft": {"softmax_scale": 0.5},
    },
    "triplet": {
        "default": TRIPLET,
        "all_squared": TRIPLET | {"margin": 0.25, "metric": "squared_euclidean"},
        "all_cosine": TRIPLET | {"margin": 0.2, "metric": "cosine"},
        "semi_hard": TRIPLET | {"margin": 0.3, "mining": "semi_hard"},
        "semi_hard_dot": TRIPLET | {"margin": 1.5, "mining": "semi_hard", "metric": "dot", "normalize": False},
        "batch_hard": TRIPLET | {"margin": 0.3, "mining": "batch_hard"},
        "batch_hard_soft": TRIPLET | {"margin": 0.1, "mining": "batch_hard", "soft": True, "normalize": False},
        "batch_hard_soft_cosine": TRIPLET | {"margin": 0.1, "mining": "batch_hard", "soft": True, "metric": "cosine"},
    },
}

# PML's memory is ours with batch_weight 0.
PML_MEMORY = {"size": 10, "start_step": 0, "weight": 1.0, "batch_weight": 0.0}

# Case -> loss, parameters, memory.
MEMORY = {
    "contrastive": ("contrastive", CONTRASTIVE, PML_MEMORY),
    "contrastive_cosine": ("contrastive", PARAMS["contrastive"]["cosine"], PML_MEMORY),
    # The sum of Wang et al. 2020, weighted, after a step without memory.
    "contrastive_as_the_paper": ("contrastive", CONTRASTIVE, PML_MEMORY | {"start_step": 1, "weight": 0.5, "batch_weight": 2.0}),
    "triplet": ("triplet", TRIPLET, PML_MEMORY),
    "triplet_semi_hard": ("triplet", PARAMS["triplet"]["semi_hard"], PML_MEMORY),
    "triplet_batch_hard_soft": ("triplet", PARAMS["triplet"]["batch_hard_soft"], PML_MEMORY),
    "multi_similarity": ("multi_similarity", MULTI_SIMILARITY, PML_MEMORY),
    "multi_similarity_mined": ("multi_similarity", PARAMS["multi_similarity"]["mined_softly"], PML_MEMORY),
}

# Labels of the steps: the memory of 10 is filled in the second and overrun in the third, across its end. Every class has
# two rows in its batch, because PML's miners count a row's own entry in the memory as its positive, and ours do not.
MEMORY_LABELS = [[0, 0, 1, 1], [0, 2, 0, 2, 1, 1], [2, 2, 0, 0], [1, 2, 1, 2]]


def rows(random, d, labels, spread=0.8):
    """Normal clouds around normal centres, so that classes overlap but are there."""
    labels = np.array(labels, dtype=np.uint32)
    centres = random.normal(size=(labels.max() + 1, d))
    return (centres[labels] + spread * random.normal(size=(len(labels), d))).astype(np.float32), labels


def batches():
    """The inputs: name -> (what it is for, embeddings [n, d], labels [n])."""
    random = np.random.default_rng(20240229)

    def pairs(edit=lambda x: None):
        x, labels = rows(random, 6, [0, 0, 0, 1, 1, 1, 2, 2])
        edit(x)
        return x, labels

    def duplicate(x):
        x[1], x[6] = x[0], x[3]

    def oppose(x):
        x[1], x[6] = -x[0], -x[3]

    # Fewer than 26 rows each: beyond that torch.cdist takes another form, which loses digits near 0.
    return {
        "4x4": ("the smallest with triplets", *rows(random, 4, [0, 0, 1, 1])),
        "10x6_uneven": ("uneven classes in no order", *rows(random, 6, [2, 0, 1, 0, 3, 0, 1, 2, 0, 3])),
        "6x5_lone_sample": ("a row without a positive", *rows(random, 5, [0, 0, 0, 1, 1, 2])),
        "5x4_one_class": ("no negatives", *rows(random, 4, [1] * 5)),
        "5x4_no_positives": ("no positives", *rows(random, 4, range(5))),
        "12x6_3_each": ("P×K, as in training", *rows(random, 6, [i // 3 for i in range(12)])),
        "8x6_duplicates": ("distance 0, within a class and across two", *pairs(duplicate)),
        "8x6_antipodal": ("cosine −1, within a class and across two", *pairs(oppose)),
    }


def proxies_for(labels, dim):
    """One proxy per class, and one for a class that the batch has not."""
    classes = int(labels.max()) + 2
    return np.random.default_rng(1000 * classes + dim).normal(size=(classes, dim)).astype(np.float32)


def double(array, leaf=False):
    return torch.tensor(array, dtype=torch.float64, requires_grad=leaf)


def classes_of(labels):
    return torch.tensor(labels.astype(np.int64))


def evaluate(name, params, embeddings, labels, proxies):
    """Value, gradient at the embeddings, and gradient at the proxies where the loss has them."""
    loss = reference(name, params, embeddings.shape[1], len(proxies))
    if loss.proxies is not None:
        loss.proxies = double(proxies)
    x = double(embeddings, leaf=True)
    value = loss(x, classes_of(labels))
    value.backward()
    outputs = {"value": np.float64(value.item()), "gradient": x.grad.numpy()}
    if loss.proxies is not None:
        outputs["proxies_gradient"] = loss.proxies_gradient().numpy()
    if not all(np.isfinite(array).all() for array in outputs.values()):
        raise ValueError(f"{name} {params} is not finite")
    return outputs


def remember(name, params, memory, steps):
    """What `evaluate` gives, for each step of a loss with a memory."""
    dim = steps[0][0].shape[1]
    alone = reference(name, params, dim, 0)
    against_memory = alone.memory(dim, memory["size"])
    outputs = {}
    for step, (embeddings, labels) in enumerate(steps):
        x, y = double(embeddings, leaf=True), classes_of(labels)
        value = against_memory(x, y)
        if step < memory["start_step"]:
            value = alone(x, y)
        elif memory["batch_weight"] != 0:
            value = memory["weight"] * value + memory["batch_weight"] * alone(x, y)
        value.backward()
        outputs |= {
            f"{step}/embeddings": embeddings,
            f"{step}/labels": labels,
            f"{step}/value": np.float64(value.item()),
            f"{step}/gradient": x.grad.numpy(),
        }
    return outputs


def main():
    inputs = {
        name: ({"is": what}, {"embeddings": x, "labels": labels, "proxies": proxies_for(labels, x.shape[1])})
        for name, (what, x, labels) in batches().items()
    }
    save("losses/batches.safetensors", inputs)
    for loss in REFERENCES:
        cases = {}
        for case, params in PARAMS[loss].items():
            outputs = {
                f"{batch}/{output}": array
                for batch, (_, tensors) in inputs.items()
                for output, array in evaluate(loss, params, **tensors).items()
            }
            cases[case] = ({"params": params}, outputs)
        save(f"losses/{loss}.safetensors", cases)
    random = np.random.default_rng(7)
    steps = [rows(random, 5, labels, spread=2.0) for labels in MEMORY_LABELS]
    cases = {
        case: ({"loss": loss, "params": params, "memory": memory}, remember(loss, params, memory, steps))
        for case, (loss, params, memory) in MEMORY.items()
    }
    save("losses/memory.safetensors", cases)


if __name__ == "__main__":
    main()
