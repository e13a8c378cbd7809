"""What a reference is, and PML's losses as references."""

import torch
from pytorch_metric_learning import distances, losses

from patches import unit

# What a loss can be given besides embeddings and labels. A batch says in its `kind` what it brings.
PLAIN, HUGE, REFERENCES, TUPLES, GRADES, VIEWS = "plain", "huge_labels", "references", "tuples", "grades", "views"


class Learned:
    """A learned parameter `owner.attribute`; `transposed` where PML's is `[dim, classes]` and ours `[classes, dim]`."""

    def __init__(self, owner, attribute, transposed=False):
        self.owner, self.attribute, self.transposed = owner, attribute, transposed

    @property
    def tensor(self):
        return getattr(self.owner, self.attribute)

    def turn(self, tensor):
        return tensor.t() if self.transposed else tensor

    def set(self, value):
        setattr(self.owner, self.attribute, torch.nn.Parameter(self.turn(value).clone()))

    @property
    def gradient(self):
        tensor = self.tensor
        return self.turn(torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)


class Reference:
    """`loss(embeddings, labels, tuples, references, reference_labels)`; the last three are None unless `kinds` has them."""

    kinds = frozenset({PLAIN})
    # Our name of a learned parameter -> Learned.
    learned = {}
    # Rows of `proxies`: `centers` for each class, or `rows` whatever the classes.
    centers, rows = 1, None

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        raise NotImplementedError

    def undefined(self, embeddings, labels):
        """Why the loss has no value or gradient there that could be compared, or None."""


class Pml(Reference):
    """A PML loss, behind a miner or not; with `projected`, rows are normalised before PML sees them."""

    def __init__(self, loss, kinds, learned=None, miner=None, projected=False, centers=1):
        self.loss, self.miner, self.projected, self.centers = loss, miner, projected, centers
        self.kinds = frozenset(kinds) - ({TUPLES} if miner else frozenset())
        self.learned = learned or {}

    def project(self, x):
        return unit(x) if self.projected and x is not None else x

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        x, refs = self.project(embeddings), self.project(references)
        if self.miner:
            tuples = self.miner(x, labels, refs, reference_labels)
        if refs is None:
            return self.loss(x, labels, tuples)
        return self.loss(x, labels, tuples, refs, reference_labels)

    def memory(self, dim, size):
        """PML's cross-batch memory around it, with the miner inside."""
        memory = losses.CrossBatchMemory(self.loss, dim, size, self.miner)
        return lambda embeddings, labels: memory(self.project(embeddings), labels)


def distance(metric, normalize):
    """PML's distance for our `metric` and `normalize`. Cosine normalises by itself, on both sides."""
    kind, _, argument = metric.partition(":")
    return {
        "euclidean": lambda: distances.LpDistance(normalize_embeddings=normalize),
        "squared_euclidean": lambda: distances.LpDistance(normalize_embeddings=normalize, power=2),
        "lp": lambda: distances.LpDistance(normalize_embeddings=normalize, p=float(argument)),
        "cosine": lambda: distances.CosineSimilarity(),
        "dot": lambda: distances.DotProductSimilarity(normalize_embeddings=normalize),
        "snr": lambda: distances.SNRDistance(normalize_embeddings=normalize),
    }[kind]()


def raw_if_told(loss, normalize):
    """For losses that insist on a normalising distance when they are made."""
    loss.distance.normalize_embeddings = normalize
    return loss


def cosines(x, y):
    """`[n, m]`, each by the same sum, so that equal rows have equal cosines."""
    return (unit(x).unsqueeze(1) * unit(y).unsqueeze(0)).sum(2)


def nothing(x):
    """0, with gradients of 0."""
    return (x * 0).sum()


def masks(labels, reference_labels=None):
    """Who is whose positive, who whose negative `[n, m]`: nobody is their own positive."""
    other = labels if reference_labels is None else reference_labels
    same = labels.unsqueeze(1) == other.unsqueeze(0)
    if reference_labels is not None:
        return same, ~same
    return same & ~torch.eye(len(labels), dtype=torch.bool), ~same


def first_rows(labels, count):
    """For each class of at least `count` rows, in the order of labels: its first `count` rows. `[classes, count]`."""
    rows = [torch.nonzero(labels == label).flatten()[:count] for label in labels.unique()]
    full = [r for r in rows if len(r) == count]
    return torch.stack(full) if full else torch.zeros(0, count, dtype=torch.long)


def weights(tuples, n, dtype):
    """How often PML's class losses weigh a row: its share in the mined tuples, 1 for the most frequent."""
    if tuples is None or all(len(x) == 0 for x in tuples):
        return torch.ones(n, dtype=dtype)
    counts = torch.bincount(torch.cat(list(tuples)), minlength=n).to(dtype)
    return counts / counts.max()
