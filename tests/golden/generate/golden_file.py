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

GOLDEN = Path(__file__).parent.parent


def save(path, cases, more_versions={}):
    """Writes `cases`: name -> (description, {tensor name: array}) to `path`, below tests/golden."""
    versions = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "pytorch-metric-learning": pytorch_metric_learning.__version__,
    } | more_versions
    descriptions = {case: description for case, (description, _) in cases.items()}
    tensors = {
        f"{case}/{name}": np.ascontiguousarray(array)
        for case, (_, arrays) in cases.items()
        for name, array in arrays.items()
    }
    # One entry only: safetensors writes several in random order, and the same versions shall give the same bytes.
    metadata = {"golden": json.dumps({"versions": versions, "cases": descriptions}, sort_keys=True)}
    (GOLDEN / path).parent.mkdir(exist_ok=True)
    save_file(tensors, GOLDEN / path, metadata)
    print(f"{path}: {len(cases)} cases, {(GOLDEN / path).stat().st_size} bytes")
