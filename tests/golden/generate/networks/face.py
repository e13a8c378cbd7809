"""Networks for faces, written from their layouts: insightface's IResNet, dlib's residual network, sirius-ai's MobileFaceNet.

Names are upstream's; of the last two, which are TensorFlow's, with the parts of a scope named `conv`, `norm` and `prelu`.
"""

import torch.nn.functional as F
from torch import nn

from .case import Case, Run, both, images

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


class Scaled(nn.Module):
    """dlib's convolution and norm."""

    def __init__(self, inputs, outputs, side, stride, padding):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, stride, padding, bias=False)
        self.scale = nn.BatchNorm2d(outputs, EPS)

    def forward(self, x):
        return self.scale(self.conv(x))


class DlibBlock(nn.Module):
    def __init__(self, inputs, outputs, halves):
        super().__init__()
        self.halves = halves
        self.conv1 = Scaled(inputs, outputs, 3, 2 if halves else 1, 0 if halves else 1)
        self.conv2 = Scaled(outputs, outputs, 3, 1, 1)

    def forward(self, x):
        y = self.conv2(F.relu(self.conv1(x)))
        if self.halves:
            x = F.avg_pool2d(x, 2, 2)
            size = [max(a, b) for a, b in zip(x.shape[1:], y.shape[1:])]
            # Zeros behind what is smaller, in channels and lines.
            x, y = (F.pad(z, [0, size[2] - z.shape[3], 0, size[1] - z.shape[2], 0, size[0] - z.shape[1]]) for z in (x, y))
        return F.relu(x + y)


class Dlib(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv32_down = Scaled(3, 32, 7, 2, 0)
        inputs = 32
        for outputs, count in ((32, 3), (64, 3), (128, 2), (256, 2)):
            if outputs != inputs:
                self.add_module(f"conv{outputs}_down", DlibBlock(inputs, outputs, True))
            for i in range(count):
                self.add_module(f"conv{outputs}_{i + 1}", DlibBlock(outputs, outputs, False))
            inputs = outputs
        self.conv256_down_out = DlibBlock(256, 256, True)
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x):
        blocks = iter(self.children())
        x = F.max_pool2d(F.relu(next(blocks)(x)), 3, 2)
        for block in blocks:
            x = self.fc(x.mean((2, 3))) if block is self.fc else block(x)
        return x


class Bent(nn.Module):
    """Convolution, norm, and a PReLU unless it is linear; `SAME` as TensorFlow has it unless it is `valid`."""

    def __init__(self, inputs, outputs, side=1, stride=1, groups=1, linear=False, valid=False):
        super().__init__()
        self.side, self.stride, self.valid = side, stride, valid
        self.conv = nn.Conv2d(inputs, outputs, side, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, EPS)
        self.prelu = nn.Identity() if linear else nn.PReLU(outputs)

    def forward(self, x):
        if not self.valid:
            zeros = [max((-(-n // self.stride) - 1) * self.stride + self.side - n, 0) for n in x.shape[:1:-1]]
            x = F.pad(x, [part for n in zeros for part in (n // 2, n - n // 2)])
        return self.prelu(self.norm(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, wide, outputs, stride):
        super().__init__()
        self.add_module("Conv", Bent(inputs, wide))
        self.add_module("SeparableConv2d", Bent(wide, wide, 3, stride, wide))
        self.add_module("Conv_1", Bent(wide, outputs, linear=True))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = x
        for layer in self.children():
            y = layer(y)
        return x + y if self.residual else y


class MobileFaceNet(nn.Sequential):
    def __init__(self, stages, side):
        super().__init__()
        self.add_module("Conv2d_0", Bent(3, 64, 3, 2))
        self.add_module("SeparableConv2d", Bent(64, 64, 3, groups=64))
        self.add_module("Conv", Bent(64, 64, linear=True))
        inputs, side = 64, side // 2
        for stage, (wider, outputs, count, stride) in enumerate(stages, start=2):
            for i in range(count):
                block = Bottleneck(inputs, wider * inputs, outputs, stride if i == 0 else 1)
                self.add_module(f"Conv2d_{stage}_InvResBlock_{i}", block)
                inputs = outputs
            side = -(-side // stride)
        self.add_module("Conv2d_7", Bent(inputs, 512))
        logits = nn.Sequential()
        logits.add_module("SeparableConv2d", Bent(512, 512, side, groups=512, linear=True, valid=True))
        logits.add_module("Conv", Bent(512, 512, linear=True))
        logits.add_module("LinearConv1x1", Bent(512, 192, linear=True))
        self.add_module("Logits", logits)

    def forward(self, x):
        return super().forward(x).flatten(1)


MOBILE_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def case(depths, model, runs):
    config = {"library": "insightface arcface_torch, rewritten", "model": model, "layers": list(depths)}
    return Case(lambda: IResNet(depths), config, runs, {"features.weight": 1.0})


CASES = {
    "iresnet50": case((3, 4, 14, 3), "iresnet50", {"eval": Run(images(2, SIDE))}),
    # Its parts, in training.
    "iresnet_short": case((1, 1, 1, 1), "IResNet", {"train": Run(images(3, SIDE), train=True)}),
    "face_resnet": Case(
        Dlib,
        {"library": "face-api, rewritten", "model": "FaceRecognitionNet"},
        {"eval": Run(images(2, 150)), "train": Run(images(3, 110), train=True)},
    ),
    "mobile_face_net": Case(
        lambda: MobileFaceNet(MOBILE_STAGES, SIDE),
        {"library": "MobileFaceNet_TF, rewritten", "model": "MobileFaceNet"},
        both(SIDE, raised=1.5),
    ),
}
