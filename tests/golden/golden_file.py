"""How a golden file is written: see README.md."""

import json
import platform
from pathlib import Path

import numpy as np
import pytorch_metric_learning
import scipy
import sklearn
import torch
from safetensors.numpy import save_file

HERE = Path(__file__).parent


def save(path, cases):
    """Writes `cases`: name -> (description, {tensor name: array}) to `path`, below this folder."""
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "pytorch-metric-learning": pytorch_metric_learning.__version__,
    }
    descriptions = {case: description for case, (description, _) in cases.items()}
    tensors = {
        f"{case}/{name}": np.ascontiguousarray(array) for case, (_, arrays) in cases.items() for name, array in arrays.items()
    }
    # One entry only: safetensors writes several in random order, and the same versions shall give the same bytes.
    metadata = {"golden": json.dumps({"versions": versions, "cases": descriptions}, sort_keys=True)}
    (HERE / path).parent.mkdir(exist_ok=True)
    save_file(tensors, HERE / path, metadata)
    print(f"{path}: {len(cases)} cases, {(HERE / path).stat().st_size} bytes")
