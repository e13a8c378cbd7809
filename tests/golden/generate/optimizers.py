#!/usr/bin/env python3
"""Makes `optimizers.safetensors`: weights under torch's optimisers, in float64, for a given row of gradients.

See README.md for the environment.
"""

import numpy as np
import torch

from golden_file import save

STEPS = 8

# Our settings and torch's.
CASES = {
    "adamw": (
        {"kind": "adamw", "lr": 0.02, "weight_decay": 0.1},
        lambda w: torch.optim.AdamW([w], lr=0.02, weight_decay=0.1),
    ),
    "adamw_other_betas": (
        {"kind": "adamw", "lr": 0.1, "weight_decay": 0.0, "beta1": 0.5, "beta2": 0.9, "eps": 0.01},
        lambda w: torch.optim.AdamW([w], lr=0.1, weight_decay=0.0, betas=(0.5, 0.9), eps=0.01),
    ),
    "sgd": (
        {"kind": "sgd", "lr": 0.05, "weight_decay": 0.0, "momentum": 0.9},
        lambda w: torch.optim.SGD([w], lr=0.05, momentum=0.9),
    ),
    "sgd_decayed": (
        {"kind": "sgd", "lr": 0.05, "weight_decay": 0.1, "momentum": 0.9},
        lambda w: torch.optim.SGD([w], lr=0.05, momentum=0.9, weight_decay=0.1),
    ),
    "sgd_nesterov": (
        {"kind": "sgd", "lr": 0.05, "weight_decay": 0.01, "momentum": 0.8, "nesterov": True},
        lambda w: torch.optim.SGD([w], lr=0.05, momentum=0.8, weight_decay=0.01, nesterov=True),
    ),
    "sgd_plain": (
        {"kind": "sgd", "lr": 0.05, "weight_decay": 0.0, "momentum": 0.0},
        lambda w: torch.optim.SGD([w], lr=0.05),
    ),
    "adam": (
        {"kind": "adam", "lr": 0.02, "weight_decay": 0.1},
        lambda w: torch.optim.Adam([w], lr=0.02, weight_decay=0.1),
    ),
    "adam_eps_of_one": (
        {"kind": "adam", "lr": 0.02, "weight_decay": 0.0, "eps": 1.0},
        lambda w: torch.optim.Adam([w], lr=0.02, eps=1.0),
    ),
    "rmsprop": (
        {"kind": "rms_prop", "lr": 0.02, "weight_decay": 0.1, "alpha": 0.9, "eps": 0.01},
        lambda w: torch.optim.RMSprop([w], lr=0.02, weight_decay=0.1, alpha=0.9, eps=0.01),
    ),
    "rmsprop_with_momentum": (
        {"kind": "rms_prop", "lr": 0.02, "weight_decay": 0.1, "alpha": 0.9, "eps": 0.01, "momentum": 0.9},
        lambda w: torch.optim.RMSprop([w], lr=0.02, weight_decay=0.1, alpha=0.9, eps=0.01, momentum=0.9),
    ),
    "adamw_clipped_by_value": (
        {"kind": "adamw", "lr": 0.02, "weight_decay": 0.0, "clip_value": 0.5},
        lambda w: torch.optim.AdamW([w], lr=0.02, weight_decay=0.0),
    ),
    "sgd_clipped_by_value_and_norm": (
        {"kind": "sgd", "lr": 0.05, "weight_decay": 0.0, "momentum": 0.9, "clip_value": 0.8, "clip_norm": 1.2},
        lambda w: torch.optim.SGD([w], lr=0.05, momentum=0.9),
    ),
    "adamw_clipped": (
        {"kind": "adamw", "lr": 0.02, "weight_decay": 0.0, "clip_norm": 1.5},
        lambda w: torch.optim.AdamW([w], lr=0.02, weight_decay=0.0),
    ),
}


def main():
    random = np.random.default_rng(5)
    start = random.normal(size=(3, 4)).astype(np.float32)
    gradients = random.normal(size=(STEPS, 3, 4)).astype(np.float32)
    cases = {}
    for name, (config, make) in CASES.items():
        weight = torch.nn.Parameter(torch.from_numpy(start).double())
        optimizer = make(weight)
        trajectory = []
        for gradient in gradients:
            weight.grad = torch.from_numpy(gradient).double()
            if "clip_value" in config:
                torch.nn.utils.clip_grad_value_([weight], config["clip_value"])
            if "clip_norm" in config:
                torch.nn.utils.clip_grad_norm_([weight], config["clip_norm"])
            optimizer.step()
            trajectory.append(weight.detach().numpy().copy())
        cases[name] = (config, {"start": start, "gradients": gradients, "trajectory": np.stack(trajectory)})
    save("optimizers.safetensors", cases)


if __name__ == "__main__":
    main()
