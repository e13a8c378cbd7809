#!/usr/bin/env python3
"""Times training steps and inference of PyTorch's networks, by the protocol of `tests/src/timing.rs`.

A case is a network (`loss`), a batch of `n`, and `params.mode`: `train`, `inference`, or of transformers `train in bf16`.
Each runs in a process of its own, whose largest resident memory, beyond what it was before there was a network, is the
answer's.
`time_train_peers.py cases [--quick]` prints cases; otherwise it is asked for them. `cargo xtask bench train --peers` drives it.
"""

import json
import os
import resource
import subprocess
import sys
import time
from functools import partial

import timm
import torch
import torchvision
import transformers
from torch import nn

# Steps before the clock: memory is touched for the first time, kernels are chosen.
WARM_UP = 2
# Of a turn, however long they take.
FEWEST = 3
TOKENS = 64


def conv4():
    block = lambda inputs: [nn.Conv2d(inputs, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*block(1), *block(64), *block(64), *block(64), nn.Flatten())


def resnet18():
    model = torchvision.models.resnet18()
    model.fc = nn.Identity()
    return model


def vit_tiny():
    return timm.create_model("vit_tiny_patch16_224", num_classes=0)


class MiniLM(nn.Module):
    """The shape of all-MiniLM-L6, without dropout; the mean of the tokens that a mask leaves, as sentence-transformers has it."""

    def __init__(self):
        super().__init__()
        config = transformers.BertConfig(
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
            vocab_size=30522,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.bert = transformers.BertModel(config, add_pooling_layer=False)

    def forward(self, ids):
        mask = torch.ones_like(ids)
        tokens = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        return (tokens * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def images(*shape):
    return lambda n: torch.randn(n, *shape)


# The network, its inputs, title, and how many of them are a batch.
NETWORKS = {
    "conv4": (conv4, images(1, 28, 28), "Conv-4, 28 × 28", 128),
    "resnet18": (resnet18, images(3, 96, 96), "ResNet-18, 96 × 96", 32),
    "vit_tiny": (vit_tiny, images(3, 224, 224), "ViT-Ti/16, 224 × 224", 16),
    "minilm_l6": (MiniLM, lambda n: torch.randint(1000, 30000, (n, TOKENS)), f"MiniLM-L6, {TOKENS} tokens", 32),
}
TRANSFORMERS = ("vit_tiny", "minilm_l6")


def cases(quick):
    for name, (_, inputs, title, batch) in NETWORKS.items():
        n = max(2, batch // 8) if quick else batch
        for mode in ("train", "inference", *(["train in bf16"] if name in TRANSFORMERS else [])):
            case = {"title": f"{title}, {mode}", "loss": name, "params": {"mode": mode}}
            size = {"n": n, "d": inputs(1).numel(), "classes": 0, "per_class": 0}
            print(json.dumps(case | size | {"tile": 0, "budget_s": 1.0 if quick else 10.0}))


def training(model, batch, bf16=False):
    """With `bf16` forward under autocast and backward outside of it, as its documentation wants."""
    model.train()
    # In one pass, as ours: unfused it is slower.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()

    return step


def inference(model, batch):
    model.eval()

    def step():
        with torch.inference_mode():
            model(batch)

    return step


def resident():
    """The largest so far. Linux hands a parent's on to its child; ours has imported the same, and holds no network."""
    # Linux tells kibibytes, macOS bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def turn(case):
    """In the process of its own."""
    torch.manual_seed(0)
    imported = resident()
    network, inputs, _, _ = NETWORKS[case["loss"]]
    modes = {"train": training, "train in bf16": partial(training, bf16=True), "inference": inference}
    step = modes[case["params"]["mode"]](network(), inputs(case["n"]))
    for _ in range(WARM_UP):
        step()
    seconds, started = [], time.perf_counter()
    while len(seconds) < FEWEST or time.perf_counter() - started < case["budget_s"]:
        before = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - before)
    return {"seconds": {"torch": seconds}, "bytes": {"torch": max(0, resident() - imported)}}


def answer(line):
    if json.loads(line)["loss"] not in NETWORKS:
        return json.dumps({"seconds": {}, "bytes": {}})
    child = subprocess.run([sys.executable, __file__, "turn"], input=line, stdout=subprocess.PIPE, text=True, check=True)
    return child.stdout.strip()


def main():
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads is not None:
        torch.set_num_threads(int(threads))
    if sys.argv[1:2] == ["cases"]:
        return cases("--quick" in sys.argv)
    if sys.argv[1:2] == ["turn"]:
        return print(json.dumps(turn(json.loads(sys.stdin.read()))))
    program = (
        f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}, "
        f"transformers {transformers.__version__}"
    )
    print(json.dumps({"program": program, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        print(answer(line), flush=True)


if __name__ == "__main__":
    main()
