"""IResNet of insightface's arcface_torch, written from its layout: the names are upstream's."""

from torch import nn

from .case import Case, Run, images

EPS = 1e-5
SIDE = 112
PLACES = 7 * 7


def conv3x3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, EPS)
        self.conv1 = conv3x3(inputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs, EPS)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = conv3x3(outputs, outputs, stride)
        self.bn3 = nn.BatchNorm2d(outputs, EPS)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs, EPS)
            )

    def forward(self, x):
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        return out + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """The dropout before `fc` is left out: upstream's rate is 0."""

    def __init__(self, depths, dim=512):
        super().__init__()
        self.conv1 = conv3x3(3, 64)
        self.bn1 = nn.BatchNorm2d(64, EPS)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for layer, (depth, outputs) in enumerate(zip(depths, (64, 128, 256, 512)), start=1):
            blocks = [Block(inputs if i == 0 else outputs, outputs, 2 if i == 0 else 1) for i in range(depth)]
            setattr(self, f"layer{layer}", nn.Sequential(*blocks))
            inputs = outputs
        self.bn2 = nn.BatchNorm2d(inputs, EPS)
        self.fc = nn.Linear(inputs * PLACES, dim)
        self.features = nn.BatchNorm1d(dim, EPS)
        self.features.weight.requires_grad = False

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.bn2(x).flatten(1)))


def case(depths, model, runs):
    config = {"library": "insightface arcface_torch, rewritten", "model": model, "layers": list(depths)}
    return Case(lambda: IResNet(depths), config, runs, {"features.weight": 1.0})


CASES = {
    "iresnet50": case((3, 4, 14, 3), "iresnet50", {"eval": Run(images(2, SIDE))}),
    # Its parts, in training.
    "iresnet_short": case((1, 1, 1, 1), "IResNet", {"train": Run(images(3, SIDE), train=True)}),
}
