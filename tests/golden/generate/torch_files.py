"""Files of torch.save in both of its forms, and what is in them."""

import json
from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent.parent / "torch"


def state():
    numbers = torch.arange(24, dtype=torch.float32) / 8 - 1
    table = OrderedDict()
    table["module.conv.weight"] = torch.nn.Parameter(numbers.reshape(2, 3, 4).clone())
    # Views: other strides, and a start that is not that of the storage.
    table["module.turned"] = numbers.reshape(4, 6).t()
    table["module.part"] = numbers[5:9]
    table["module.double"] = numbers[:3].double()
    table["module.half"] = numbers[:3].half()
    table["module.brain"] = numbers[:3].bfloat16()
    table["module.bn.num_batches_tracked"] = torch.tensor(7)
    table["module.byte"] = torch.tensor([0, 255], dtype=torch.uint8)
    table["module.flag"] = torch.tensor([True, False])
    table["module.scalar"] = torch.tensor(-0.25)
    table._metadata = {"": {"version": 2}}
    return table


def main():
    table = state()
    checkpoint = {"epoch": 3, "lr": 0.1, "args": {"arch": "none"}, "state_dict": table}
    torch.save(checkpoint, FOLDER / "archive.pth")
    torch.save(checkpoint, FOLDER / "old.pth", _use_new_zipfile_serialization=False)
    told = {
        name.removeprefix("module."): {"shape": list(value.shape), "values": value.detach().float().flatten().tolist()}
        for name, value in table.items()
    }
    text = json.dumps({"torch": torch.__version__.split("+")[0], "tensors": told}, indent=1)
    (FOLDER / "values.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
