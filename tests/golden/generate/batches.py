"""The inputs of `losses/*.safetensors`: batches, each hard in one way."""

from dataclasses import dataclass, field

import numpy as np
import torch

from references.base import GRADES, HUGE, PLAIN, REFERENCES, TUPLES, VIEWS

# Of larger batches only these rows of a gradient are stored, and its norm.
HEAD, LARGE = 8, 64


@dataclass
class Batch:
    what: str
    embeddings: np.ndarray
    labels: np.ndarray
    kind: str = PLAIN
    # `proxies`, `ref_embeddings`, `ref_labels`, `grades`, or the index lists of mined pairs or triplets.
    extra: dict = field(default_factory=dict)

    def tensors(self):
        return {"embeddings": self.embeddings, "labels": self.labels} | self.extra

    def tuples(self):
        for names in (PAIR_LISTS, TRIPLET_LISTS):
            if names[0] in self.extra:
                return tuple(torch.tensor(self.extra[name].astype(np.int64)) for name in names)
        return None

    @property
    def classes(self):
        return int(self.labels.max()) + 2


PAIR_LISTS = ("anchors1", "positives", "anchors2", "negatives")
TRIPLET_LISTS = ("anchors", "positives", "negatives")


def rows(random, d, labels, spread=0.8):
    """Normal clouds around normal centres, so that classes overlap but are there."""
    labels = np.array(labels, dtype=np.uint32)
    centres = random.normal(size=(labels.max() + 1, d))
    return (centres[labels] + spread * random.normal(size=(len(labels), d))).astype(np.float32), labels


def proxies_for(classes, dim, centers=1):
    """One proxy per class (or `centers`), and for a class that the batch has not."""
    random = np.random.default_rng(1000 * classes * centers + dim)
    return random.normal(size=(classes * centers, dim)).astype(np.float32)


def indices(names, *lists):
    return {name: np.array(values, dtype=np.uint32) for name, values in zip(names, lists)}


def small():
    """Name -> batch of labels only."""
    random = np.random.default_rng(20240229)

    def pairs(edit=lambda x: None):
        x, labels = rows(random, 6, [0, 0, 0, 1, 1, 1, 2, 2])
        edit(x)
        return x, labels

    def duplicate(x):
        x[1], x[6] = x[0], x[3]

    def oppose(x):
        x[1], x[6] = -x[0], -x[3]

    def blank(x):
        x[4] = 0

    batches = {
        "4x4": Batch("the smallest with triplets", *rows(random, 4, [0, 0, 1, 1])),
        "10x6_uneven": Batch("uneven classes in no order", *rows(random, 6, [2, 0, 1, 0, 3, 0, 1, 2, 0, 3])),
        "6x5_lone_sample": Batch("a row without a positive", *rows(random, 5, [0, 0, 0, 1, 1, 2])),
        "5x4_one_class": Batch("no negatives", *rows(random, 4, [1] * 5)),
        "5x4_no_positives": Batch("no positives", *rows(random, 4, range(5))),
        "12x6_3_each": Batch("P×K, as in training", *rows(random, 6, [i // 3 for i in range(12)])),
        "8x6_duplicates": Batch("distance 0, within a class and across two", *pairs(duplicate)),
        "8x6_antipodal": Batch("cosine −1, within a class and across two", *pairs(oppose)),
    }
    random = np.random.default_rng(20240301)
    identical = np.repeat(random.normal(size=(1, 5)), 6, axis=0).astype(np.float32)
    batches |= {
        "2x2": Batch("the smallest of all", *rows(random, 2, [0, 0])),
        "15x5_uneven": Batch(
            "classes of 7, 5 and 3", *rows(random, 5, random.permutation(np.repeat([0, 1, 2], [7, 5, 3])))
        ),
        "6x5_identical": Batch(
            "all rows equal: gradients are 0 but for rounding", identical, np.array([0, 0, 1, 1, 2, 2], dtype=np.uint32)
        ),
        "8x6_zero_row": Batch("a row of zeros", *pairs(blank)),
    }
    return batches


def large():
    random = np.random.default_rng(20240302)
    labels = np.arange(64, dtype=np.uint32) // 4
    direction = lambda count: random.normal(size=(count, 128)) / 128**0.5
    x = 1.2 * direction(1) + direction(16)[labels] + 0.8 * direction(64)
    return {"64x128": Batch("16 × 4, above the 25 rows of PML's other form of distance", x.astype(np.float32), labels)}


def mined():
    random = np.random.default_rng(20240303)
    labels = [0, 1, 0, 2, 1, 0, 2, 3]
    pairs = indices(PAIR_LISTS, [0, 0, 1, 5, 6], [2, 5, 4, 0, 3], [0, 1, 1, 3, 6, 6], [1, 3, 7, 4, 0, 5])
    triplets = indices(TRIPLET_LISTS, [0, 0, 2, 4, 6, 6], [2, 2, 5, 1, 3, 3], [1, 6, 7, 0, 5, 7])
    return {
        "8x6_mined_pairs": Batch("pairs from a miner", *rows(random, 6, labels), TUPLES, pairs),
        "8x6_mined_triplets": Batch(
            "triplets from a miner, with pairs that occur twice", *rows(random, 6, labels), TUPLES, triplets
        ),
    }


def against_references():
    random = np.random.default_rng(20240304)

    def refer(labels, ref_labels, d):
        both, all_labels = rows(random, d, labels + ref_labels)
        n = len(labels)
        return both[:n], all_labels[:n], {"ref_embeddings": both[n:], "ref_labels": all_labels[n:]}

    x, labels, references = refer([0, 0, 1, 2, 2, 4], [0, 1, 1, 2, 3, 0, 2, 5], 5)
    batches = {"6x5_references": Batch("classes that only one side has", x, labels, REFERENCES, references)}
    x, labels, views = refer(list(range(8)), list(range(8)), 6)
    batches["8x6_two_views"] = Batch("two views of each row", x, labels, VIEWS, views)
    x, labels, views = refer([0, 1], [0, 1], 4)
    batches["2x4_two_views"] = Batch("two rows of two views", x, labels, VIEWS, views)
    return batches


def special():
    random = np.random.default_rng(20240305)
    x, _ = rows(random, 5, [0, 0, 1, 1, 2, 3])
    near, far = 2**53, 2**62
    huge = np.array([near, near, near + 1, near + 1, near + 2, far], dtype=np.int64)
    batches = {"6x5_huge_labels": Batch("labels that floats cannot tell apart", x, huge, HUGE)}
    for name, d, grades in (("12x6_graded", 6, [0.5, 1.0, 0.0, 0.5, 0.25, 0.9]), ("4x4_equal_grades", 4, [0.5, 0.5])):
        x, labels = rows(random, d, np.arange(2 * len(grades)) // 2)
        extra = {"grades": np.array(grades, dtype=np.float32)}
        batches[name] = Batch("rows 2i and 2i + 1 are a pair with a grade", x, labels, GRADES, extra)
    return batches


def all_batches():
    batches = small() | large() | mined() | against_references() | special()
    for batch in batches.values():
        if batch.kind in (PLAIN, TUPLES):
            batch.extra["proxies"] = proxies_for(batch.classes, batch.embeddings.shape[1])
    return batches


def double(array, leaf=False):
    return torch.tensor(array, dtype=torch.float64, requires_grad=leaf)


def classes_of(labels):
    return torch.tensor(labels.astype(np.int64))
