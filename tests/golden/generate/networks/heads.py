"""What makes a vector of a feature map."""

import torch
from torch import nn
from torch.nn import functional

import formula

from .case import Case, Run

SHAPE = (2, 8, 5, 7)
EPS = 1e-6


class Heads(nn.Module):
    """The exponent is GeM's only; the others leave it without a gradient."""

    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), 3.0))

    def gem(self, x):
        return functional.avg_pool2d(x.clamp(min=EPS).pow(self.p), x.shape[2:]).pow(1.0 / self.p).flatten(1)

    def gap(self, x):
        return functional.adaptive_avg_pool2d(x, 1).flatten(1)

    def gmp(self, x):
        return functional.adaptive_max_pool2d(x, 1).flatten(1)

    def gap_gmp(self, x):
        return self.gap(x) + self.gmp(x)

    def gap_gmp_layer_norm(self, x):
        return functional.layer_norm(self.gap_gmp(x), SHAPE[1:2])

    def gem_unit(self, x):
        return functional.normalize(self.gem(x))


def run(head):
    features = torch.from_numpy(formula.uniform("input", SHAPE))
    return Run([features], lambda network, x: getattr(network, head)(x))


CASES = {
    "heads": Case(
        Heads,
        {"library": "torch", "gem_eps": EPS, "layer_norm_eps": 1e-5, "shape": list(SHAPE)},
        {head: run(head) for head in ("gem", "gem_unit", "gap", "gmp", "gap_gmp", "gap_gmp_layer_norm")},
        {"p": 3.0},
    )
}
