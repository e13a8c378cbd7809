"""Convolutional networks: torchvision's, and BN-Inception as the papers of metric learning take it."""

import torch
import torchvision
from pretrainedmodels.models.bninception import BNInception
from torchvision.models.resnet import Bottleneck, ResNet

from .case import Case, Run, both, images

SIDE = 64


def headless(name, head, **arguments):
    """A model of torchvision that ends with its pooled features."""

    def network():
        model = getattr(torchvision.models, name)(**arguments)
        setattr(model, head, torch.nn.Identity())
        return model

    return network, {"library": "torchvision", "model": name, "without": head} | arguments


class Inception(BNInception):
    """With the mean of all places, whatever their number: upstream's pool is 7 × 7."""

    def __init__(self):
        super().__init__()
        del self.last_linear

    def forward(self, x):
        return self.features(x).mean((2, 3))


def bottlenecks():
    """One of each stage: ResNet-50's parts, and shallow enough that rounding does not decide its gradients in training."""
    model = ResNet(Bottleneck, [1, 1, 1, 1])
    model.fc = torch.nn.Identity()
    return model


CASES = {
    "resnet18": Case(*headless("resnet18", "fc"), both()),
    "resnet34": Case(*headless("resnet34", "fc"), {"eval": Run(images(2, SIDE))}),
    "resnet50": Case(*headless("resnet50", "fc"), both(raised=1.0)),
    "resnet_bottlenecks": Case(
        bottlenecks, {"library": "torchvision", "model": "ResNet", "layers": [1, 1, 1, 1], "without": "fc"}, both()
    ),
    "mobilenet_v2": Case(*headless("mobilenet_v2", "classifier"), both(), spread=4.0),
    "mobilenet_v3_small": Case(*headless("mobilenet_v3_small", "classifier"), both(), spread=6.0),
    "mobilenet_v3_large": Case(*headless("mobilenet_v3_large", "classifier"), both(trained=3), spread=5.0),
    "efficientnet_b0": Case(*headless("efficientnet_b0", "classifier", stochastic_depth_prob=0.0), both(), spread=7.0),
    "bn_inception": Case(
        Inception,
        {"library": "pretrainedmodels", "model": "bninception", "without": "last_linear"},
        both(96, raised=2.0),
        spread=5.5,
    ),
}
