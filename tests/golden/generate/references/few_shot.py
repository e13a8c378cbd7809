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
        rows = rows_of_classes(labels)
        prototypes = torch.stack([embeddings[r[: self.n_support]].mean(0) for r in rows])
        queries = embeddings[torch.cat([r[self.n_support :] for r in rows])]
        if len(queries) == 0:
            return nothing(embeddings)
        targets = torch.cat([torch.full((len(r[self.n_support :]),), k) for k, r in enumerate(rows)])
        logits = self.scale * CLOSENESS[self.metric](queries, prototypes)
        return torch.nn.functional.cross_entropy(logits, targets)


class Matching(Reference):
    """Vinyals et al., "Matching Networks for One Shot Learning", NeurIPS 2016, eq. 1 and section 2.1.1, without full-context embeddings.

    Support and queries as above; the attention of each query to all support rows is a softmax of the scaled cosines (or negative
    squared distances), its class's probability the attention to the rows of that class; mean of the negative logarithms.
    """

    kinds = frozenset({PLAIN})

    def __init__(self, n_support, scale, metric):
        self.n_support, self.scale, self.metric = n_support, scale, metric

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        rows = rows_of_classes(labels)
        support = torch.cat([r[: self.n_support] for r in rows])
        queries = torch.cat([r[self.n_support :] for r in rows])
        if len(queries) == 0:
            return nothing(embeddings)
        closeness = CLOSENESS[self.metric](embeddings[queries], embeddings[support])
        attention = torch.log_softmax(self.scale * closeness, dim=1)
        same = labels[queries].unsqueeze(1) == labels[support].unsqueeze(0)
        return -attention.masked_fill(~same, -torch.inf).logsumexp(1).mean()


def rows_of_classes(labels):
    return [torch.nonzero(labels == label).flatten() for label in labels.unique()]


CLOSENESS = {
    "cosine": lambda a, b: unit(a) @ unit(b).t(),
    "squared_euclidean": lambda a, b: -(a.unsqueeze(1) - b.unsqueeze(0)).square().sum(2),
}

DEFINED = {
    "matching": lambda dim, classes, n_support, scale, metric: Matching(n_support, scale, metric),
    "prototypical": lambda dim, classes, n_support, scale, metric: Prototypical(n_support, scale, metric),
}
