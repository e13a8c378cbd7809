"""The losses of dml-losses in torch: our names and parameters for pytorch-metric-learning's (PML) and for definitions.

`params` has our keys, and all of them, so that a change of a default on either side cannot go unnoticed.
"""

from . import definitions, few_shot, pairs, proxy, ranking

PML = pairs.PML | ranking.PML | proxy.PML
DEFINED = definitions.DEFINED | ranking.DEFINED | proxy.DEFINED | few_shot.DEFINED
NAMES = sorted(PML.keys() | DEFINED.keys())


def reference(name, params, dim, classes):
    """What the loss should be worth: a definition where PML has none or another."""
    return {**PML, **DEFINED}[name](dim, classes, **params)


def pml(name, params, dim, classes):
    """PML's loss of that name, for timing; KeyError where it has none."""
    return PML[name](dim, classes, **params)
