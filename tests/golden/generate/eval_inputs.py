"""Files as numpy, safetensors and pandas write them, for dml-eval's readers.

Embeddings are rows of multiples of 1/8, exact in every type: x[i, j] = (i * 3 + j) / 8 - 1, [5, 3].
"""

import pathlib

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "eval" / "inputs"
FOLDER.mkdir(parents=True, exist_ok=True)

x = np.arange(15, dtype=np.float64).reshape(5, 3) / 8 - 1
for name in ["<f2", "<f4", "<f8", ">f4"]:
    np.save(FOLDER / f"{name.replace('<', 'little_').replace('>', 'big_')}.npy", x.astype(name))
for version in [(2, 0), (3, 0)]:
    with open(FOLDER / f"version_{version[0]}.npy", "wb") as file:
        np.lib.format.write_array(file, x.astype("<f4"), version=version)
np.save(FOLDER / "fortran.npy", np.asfortranarray(x.astype("<f4")))
np.save(FOLDER / "int.npy", np.arange(6).reshape(2, 3))

t = torch.from_numpy(x)
kinds = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
save_file({name: t.to(kind) for name, kind in kinds.items()}, FOLDER / "four.safetensors")
labels = torch.tensor([-1, 10, 9, 10, -1])
save_file(
    {"embeddings": t.float(), "labels": labels, "is_query": torch.tensor([True, False, False, True, True])},
    FOLDER / "set.safetensors",
)
save_file({"y": labels.to(torch.int16)}, FOLDER / "only.safetensors")

# 2^53 + 1 and 2^53 are one number as floats.
np.save(FOLDER / "uint64.npy", np.array([2**53 + 1, 2**64 - 1, 2**53, 7, 2**53 + 1], dtype="<u8"))
np.save(FOLDER / "big_int16.npy", np.array([-300, 2, -300, 5, 300], dtype=">i2"))
np.save(FOLDER / "int8.npy", np.array([-1, 2, -128, 127, 2], dtype="i1"))
np.save(FOLDER / "bool.npy", np.array([True, False, True]))

table = pd.DataFrame(
    {
        "path": ["a/1.png", "a/2.png", 'b "c", d.png', "e.png", "é.png"],
        "class": [10, 9, 2**53 + 1, 2**53, 9],
        "species": ["wren", "owl", "wren", "jay", "owl"],
        "split": ["train", "test", "test", "train", "test"],
        "is_query": [True, False, True, False, True],
        "is_gallery": [1, 1, 0, 1, 0],
        "camera": ["c2", "c10", "c2", "c1", "c1"],
        "score": [0.5, 0.25, 0.0, 1.0, 2.0],
    }
)
table.to_csv(FOLDER / "table.csv", index=False)
table.to_csv(FOLDER / "table.tsv", index=False, sep="\t")
for compression in ["snappy", "zstd", "gzip", None]:
    table.to_parquet(FOLDER / f"table_{compression or 'plain'}.parquet", compression=compression)
