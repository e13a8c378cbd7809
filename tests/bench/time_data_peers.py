#!/usr/bin/env python3
"""Times torchvision's transforms in PyTorch's DataLoader and pytorch-metric-learning's sampler on the cases of
`tests/src/bin/time_data.rs`, by the same protocol.

Takes the folder where that program leaves the photographs. `cargo xtask bench data --peers` drives it.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import PIL
import pytorch_metric_learning
import torch
import torchvision
from peak import peak
from PIL import Image
from pytorch_metric_learning.samplers import MPerClassSampler
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

# As in time_data.rs.
REPETITIONS = 5


class Small(Dataset):
    """Grey images in memory, as torchvision's MNIST holds and gives them."""

    def __init__(self, case):
        n, d = case["n"], case["d"]
        side = int(d**0.5)
        self.data = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, side, side), dtype=np.uint8))
        self.targets = torch.arange(n) % case["classes"]
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        image, target = self.data[index], int(self.targets[index])
        return self.transform(Image.fromarray(image.numpy(), mode="L")), target


def photographs(case, folder):
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    return epochs(case, torchvision.datasets.ImageFolder(folder / "photographs", transform))


def small(case, folder):
    return epochs(case, Small(case))


def epochs(case, dataset):
    """Takes an epoch's batches; the workers live on between epochs."""
    workers = int(os.environ["OMP_NUM_THREADS"])
    loader = DataLoader(
        dataset, batch_size=case["params"]["batch"], shuffle=True, num_workers=workers, persistent_workers=True
    )

    def epoch():
        for _ in loader:
            pass

    return epoch


def plan(case, folder):
    # With a batch size it shuffles all classes anew for every batch: a million of them, forty thousand times.
    sampler = MPerClassSampler(np.arange(case["n"]) % case["classes"], m=4, length_before_new_iter=case["n"])
    return lambda: list(sampler)


WORK = {"photographs": ("torchvision", photographs), "small": ("torchvision", small), "plan": ("pml", plan)}


def turn(case, folder):
    if case["loss"] not in WORK:
        return {"seconds": {}, "bytes": {}}
    contestant, prepare = WORK[case["loss"]]
    work = prepare(case, folder)
    seconds = []

    def once():
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)

    # The first time starts the workers: it tells the peak (of this process) only.
    grown = peak(once)
    repetitions = REPETITIONS if seconds[0] < 10.0 else 1
    seconds.clear()
    for _ in range(repetitions):
        once()
    return {"seconds": {contestant: seconds}, "bytes": {contestant: grown}}


def main():
    threads = os.environ["OMP_NUM_THREADS"]
    torch.set_num_threads(int(threads))
    program = (
        f"torchvision {torchvision.__version__} on Pillow {PIL.__version__} in PyTorch {torch.__version__}'s DataLoader, "
        f"{threads} workers; pytorch-metric-learning {pytorch_metric_learning.__version__}"
    )
    print(json.dumps({"program": program, "threads": int(threads)}), flush=True)
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(turn(json.loads(line), folder)), flush=True)


if __name__ == "__main__":
    main()
