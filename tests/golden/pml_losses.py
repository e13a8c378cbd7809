"""The losses of dml-losses as pytorch-metric-learning (PML) computes them: one place that maps our names to theirs.

`reference(name, params, dim, classes)` gives a callable `loss(embeddings, labels) -> scalar`; its `proxies` are
`[classes, dim]`, or None. `params` has our keys, and all of them, so that a change of a default on either side cannot go
unnoticed. What PML has not is written here in plain torch, from the paper. Used for the goldens and for timing.
"""

import torch
from pytorch_metric_learning import distances, losses, miners


class Pairs:
    """A PML loss on pairs or triplets of the batch, behind a miner or not."""

    proxies = None

    def __init__(self, loss, miner=None):
        self.loss, self.miner = loss, miner and (lambda *batch: not_lonely(miner(*batch)))

    def __call__(self, embeddings, labels):
        return self.loss(embeddings, labels, self.miner and self.miner(embeddings, labels))

    def memory(self, dim, size):
        """PML's cross-batch memory around it, with the miner inside."""
        return losses.CrossBatchMemory(self.loss, dim, size, self.miner)


def not_lonely(mined):
    """PML calls a batch of one positive and one negative pair empty, whatever their loss; we do not. Keep clear of it."""
    if len(mined) == 4 and max(map(len, mined)) == 1:
        raise ValueError("PML returns 0 for a single pair: choose another batch or parameter")
    return mined


class Proxies:
    """A PML loss against one vector per class: PML's `weight` is `[dim, classes]` in some losses, our layout in others."""

    def __init__(self, loss, weight, transposed):
        self.loss, self.weight, self.transposed = loss, weight, transposed

    def turn(self, weight):
        return weight.t() if self.transposed else weight

    @property
    def proxies(self):
        return self.turn(self.weight.data)

    @proxies.setter
    def proxies(self, proxies):
        self.weight.data = self.turn(proxies).clone()

    def proxies_gradient(self):
        return self.turn(self.weight.grad)

    def __call__(self, embeddings, labels):
        return self.loss(embeddings, labels)


class NPairs:
    """PML's loss, plus what Sohn 2016 §3.2.2 adds and PML cannot say: `l2 · mean ‖f‖²` over the anchors and positives."""

    proxies = None

    def __init__(self, normalize, scale, l2):
        self.loss = losses.NPairsLoss(distance=ScaledDotProduct(scale, normalize_embeddings=normalize))
        self.l2 = l2

    def __call__(self, embeddings, labels):
        rows = [torch.nonzero(labels == label).flatten()[:2] for label in labels.unique()]
        used = torch.cat([r for r in rows if len(r) == 2] or [labels[:0]])
        loss = self.loss(embeddings, labels)
        return loss if len(used) == 0 else loss + self.l2 * embeddings[used].square().sum(1).mean()


class ScaledDotProduct(distances.DotProductSimilarity):
    """PML's N-pair loss has no temperature: it comes in by the distance."""

    def __init__(self, scale, **settings):
        super().__init__(**settings)
        self.scale = scale

    def compute_mat(self, queries, references):
        return self.scale * super().compute_mat(queries, references)


class Prototypical:
    """Snell, Swersky, Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017, eq. 2: PML has none.

    The first `n_support` rows of each class are its support, the rest its queries; cross-entropy of the scaled negative
    squared distances (or cosines) of each query to the class means; mean over queries. Classes without a query compete.
    """

    proxies = None

    def __init__(self, n_support, scale, metric):
        self.n_support, self.scale, self.metric = n_support, scale, metric

    def __call__(self, embeddings, labels):
        rows = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
        prototypes = torch.stack([embeddings[r[: self.n_support]].mean(0) for r in rows])
        queries = embeddings[torch.cat([r[self.n_support :] for r in rows])]
        if len(queries) == 0:
            return (embeddings * 0).sum()
        targets = torch.cat([torch.full((len(r[self.n_support :]),), k) for k, r in enumerate(rows)])
        logits = self.scale * CLOSENESS[self.metric](queries, prototypes)
        return torch.nn.functional.cross_entropy(logits, targets)


CLOSENESS = {
    "cosine": lambda a, b: torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).t(),
    "squared_euclidean": lambda a, b: -(a.unsqueeze(1) - b.unsqueeze(0)).square().sum(2),
}


def distance(metric, normalize):
    """PML's distance for our `metric` and `normalize`. Cosine normalises by itself, on both sides."""
    return {
        "euclidean": lambda: distances.LpDistance(normalize_embeddings=normalize),
        "squared_euclidean": lambda: distances.LpDistance(normalize_embeddings=normalize, power=2),
        "cosine": lambda: distances.CosineSimilarity(),
        "dot": lambda: distances.DotProductSimilarity(normalize_embeddings=normalize),
    }[metric]()


def contrastive(dim, classes, metric, normalize, pos_margin, neg_margin):
    return Pairs(losses.ContrastiveLoss(pos_margin, neg_margin, distance=distance(metric, normalize)))


def triplet(dim, classes, margin, mining, soft, metric, normalize):
    space = distance(metric, normalize)
    miner = {
        "all": lambda: None,
        "semi_hard": lambda: miners.TripletMarginMiner(margin, "semihard", distance=space),
        "batch_hard": lambda: miners.BatchHardMiner(distance=space),
    }[mining]()
    return Pairs(losses.TripletMarginLoss(margin, smooth_loss=soft, distance=space), miner)


def multi_similarity(dim, classes, alpha, beta, base, epsilon):
    miner = None if epsilon is None else miners.MultiSimilarityMiner(epsilon)
    return Pairs(losses.MultiSimilarityLoss(alpha, beta, base), miner)


def n_pairs(dim, classes, normalize, scale, l2):
    return NPairs(normalize, scale, l2)


def normalized_softmax(dim, classes, temperature):
    loss = losses.NormalizedSoftmaxLoss(classes, dim, temperature)
    return Proxies(loss, loss.W, transposed=True)


def arc_face(dim, classes, margin, scale):
    loss = losses.ArcFaceLoss(classes, dim, margin, scale)
    return Proxies(loss, loss.W, transposed=True)


def proxy_anchor(dim, classes, margin, alpha):
    loss = losses.ProxyAnchorLoss(classes, dim, margin, alpha)
    return Proxies(loss, loss.proxies, transposed=False)


def proxy_nca(dim, classes, softmax_scale):
    loss = losses.ProxyNCALoss(classes, dim, softmax_scale=softmax_scale)
    return Proxies(loss, loss.proxies, transposed=False)


def prototypical(dim, classes, n_support, scale, metric):
    return Prototypical(n_support, scale, metric)


REFERENCES = {
    make.__name__: make
    for make in (
        arc_face,
        contrastive,
        multi_similarity,
        n_pairs,
        normalized_softmax,
        prototypical,
        proxy_anchor,
        proxy_nca,
        triplet,
    )
}


def reference(name, params, dim, classes):
    return REFERENCES[name](dim, classes, **params)
