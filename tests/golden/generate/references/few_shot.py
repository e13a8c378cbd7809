"""The few-shot losses, of which pytorch-metric-learning has none."""

import torch

from patches import unit

from .base import PLAIN, Reference, nothing


class Prototypical(Reference):
    """Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, eq. 2.

    The first `n_support` rows of each class are its support, the rest its queries; cross-entropy of the scaled negative
    squared distances (or cosines) of each query to the class means; mean over queries. Classes without a query compete.
    """

    kinds = frozenset({PLAIN})

    def __init__(self, n_support, scale, metric):
        self.n_support, self.scale, self.metric = n_support, scale, metric

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        rows = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
        prototypes = torch.stack([embeddings[r[: self.n_support]].mean(0) for r in rows])
        queries = embeddings[torch.cat([r[self.n_support :] for r in rows])]
        if len(queries) == 0:
            return nothing(embeddings)
        targets = torch.cat([torch.full((len(r[self.n_support :]),), k) for k, r in enumerate(rows)])
        logits = self.scale * CLOSENESS[self.metric](queries, prototypes)
        return torch.nn.functional.cross_entropy(logits, targets)


CLOSENESS = {
    "cosine": lambda a, b: unit(a) @ unit(b).t(),
    "squared_euclidean": lambda a, b: -(a.unsqueeze(1) - b.unsqueeze(0)).square().sum(2),
}

DEFINED = {"prototypical": lambda dim, classes, n_support, scale, metric: Prototypical(n_support, scale, metric)}
