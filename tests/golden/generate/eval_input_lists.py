"""Parquet files with embeddings as lists, as pyarrow writes them, for dml-eval's reader.

Rows as in eval_inputs.py: x[i, j] = (i * 3 + j) / 8 - 1, [5, 3].
"""

import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "eval" / "inputs"

x = [[(i * 3 + j) / 8 - 1 for j in range(3)] for i in range(5)]
label = pa.array(["owl", "jay", "owl", "wren", "jay"])


def write(name, columns, **options):
    pq.write_table(pa.table(columns), FOLDER / name, **options)


# What pyarrow makes of lists: they and their values may be absent, though none is.
write("lists.parquet", {"label": label, "vector": pa.array(x, pa.list_(pa.float32()))}, row_group_size=2)
write("lists_fixed.parquet", {"vector": pa.array(x, pa.list_(pa.float64(), 3)), "label": label}, compression="zstd")
write(
    "lists_two.parquet",
    {"a": pa.array(x, pa.list_(pa.float32())), "b": pa.array([row[:2] for row in x], pa.list_(pa.float32()))},
)
write("lists_absent.parquet", {"vector": pa.array([x[0], None, x[2]], pa.list_(pa.float32()))})
write("lists_hole.parquet", {"vector": pa.array([x[0], [1.0, None, 2.0]], pa.list_(pa.float32()))})
write("lists_ragged.parquet", {"vector": pa.array([x[0], x[1][:2]], pa.list_(pa.float32()))})
