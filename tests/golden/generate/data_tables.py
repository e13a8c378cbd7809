"""Annotations of Cars-196 as scipy writes them, and a table of images as pyarrow writes it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import scipy.io

FOLDER = Path(__file__).parents[1] / "data"


def cars() -> None:
    """Three images of classes 1, 2 and 99, with the types of the real file: bytes, 16-bit boxes, texts in cells."""
    fields = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
    rows = [
        ("car_ims/000001.jpg", 112, 7, 853, 295, 1, 1),
        ("car_ims/000002.jpg", 48, 24, 441, 202, 2, 0),
        ("car_ims/000003.jpg", 7, 4, 277, 180, 99, 0),
    ]
    annotations = np.empty((1, len(rows)), dtype=[(field, object) for field in fields])
    for i, (path, *box, label, test) in enumerate(rows):
        annotations[0, i] = (path, *(np.uint16(value) for value in box), np.uint8(label), np.uint8(test))
    names = ["AM General Hummer SUV 2000", "Citroën C4 Picasso 2012", *(f"Class {i}" for i in range(3, 100))]
    class_names = np.empty((1, len(names)), dtype=object)
    class_names[0, :] = names
    for name, compressed in [("plain", False), ("compressed", True)]:
        path = FOLDER / name / "cars_annos.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(
            path, {"annotations": annotations, "class_names": class_names}, do_compression=compressed
        )
        # The header holds the time of writing: the same run must give the same bytes.
        content = path.read_bytes()
        path.write_bytes(b"MATLAB 5.0 MAT-file, by scipy.io.savemat".ljust(116) + content[116:])


def birds() -> None:
    """The table of crates/dml-data/tests/catalog.rs, its columns typed."""
    table = pa.table(
        {
            "label": ["wren", "gull", "wren", "finch", "finch"],
            "path": ["b/1.jpg", "a/1.jpg", "b/2.jpg", "c/1.jpg", "c/2.jpg"],
            "split": ["train", "train", "train", "val", "val"],
            "is_query": [True, True, True, True, False],
            "is_gallery": pa.array([1, 1, 1, 0, 1], pa.int64()),
            "box": [None, "1 2 3.5 4", None, "[0, 0, 8, 8]", None],
            "group": ["north", "south", "north", "north", None],
        }
    )
    pa.parquet.write_table(table, FOLDER / "birds.parquet")


if __name__ == "__main__":
    cars()
    birds()
