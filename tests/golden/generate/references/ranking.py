"""The ranking losses: pytorch-metric-learning's (PML), and definitions where it has none or a wrong one."""

import torch
from pytorch_metric_learning import losses
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch.nn.functional import relu

from patches import differences, unit

from .base import HUGE, PLAIN, TUPLES, Pml, Reference, cosines, masks, nothing, raw_if_told, weights
from .definitions import mean_non_zero

RANKED = (PLAIN, HUGE)


class FastAp(Pml):
    def undefined(self, embeddings, labels):
        x = unit(embeddings) if self.loss.distance.normalize_embeddings else embeddings
        pairs = labels.unsqueeze(1) == labels.unsqueeze(0)
        pairs.fill_diagonal_(False)
        beyond = differences(x, x).square()[pairs] >= 4 + 4 / self.loss.num_bins
        # A precision of 0 is a loss of 1, also when it is that of all rows.
        return "PML's loss is 0 when all positives lie beyond the bins" if len(beyond) and beyond.all() else None


def fast_ap(dim, classes, num_bins, normalize):
    return FastAp(raw_if_told(losses.FastAPLoss(num_bins), normalize), (*RANKED, TUPLES))


def histogram(dim, classes, num_bins):
    return Pml(losses.HistogramLoss(num_bins), (*RANKED, TUPLES))


def pnp(dim, classes, b, alpha, anneal, variant):
    return Pml(losses.PNPLoss(b, alpha, anneal, variant.capitalize()), RANKED)


def ranked_list(dim, classes, margin, tn, imbalance, alpha, tp):
    return Pml(losses.RankedListLoss(margin, tn, imbalance, alpha, tp), RANKED)


def smooth_ap(dim, classes, temperature, include_self):
    if not include_self:
        raise KeyError("PML's smooth AP counts the query")
    return Pml(losses.SmoothAPLoss(temperature), (*RANKED, TUPLES))


PML = {make.__name__: make for make in (fast_ap, histogram, pnp, ranked_list, smooth_ap)}


class Histogram(Reference):
    """Ustinova and Lempitsky, "Learning Deep Embeddings with Histogram Loss", 2016, eq. 1-4. PML fails at cosine 1."""

    kinds = frozenset({PLAIN, HUGE, TUPLES})

    def __init__(self, num_bins):
        self.bins = num_bins

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        a, p, n = lmu.convert_to_triplets(tuples, labels, labels, "all")
        if len(a) == 0:
            return nothing(embeddings)
        scores = cosines(embeddings, embeddings)
        positive, negative = self.density(scores, a, p), self.density(scores, a, n)
        return (negative * positive.cumsum(0)).sum()

    def density(self, scores, a, b):
        """Over the pairs in either order, each once: its share in the two nodes around its cosine."""
        i, j = torch.unique(torch.stack([torch.minimum(a, b), torch.maximum(a, b)]), dim=1)
        place = (scores[i, j] + 1) * self.bins / 2
        node = place.detach().floor().long().clamp(0, self.bins - 1)
        share = place - node
        density = scores.new_zeros(self.bins + 1)
        return density.index_add(0, node, 1 - share).index_add(0, node + 1, share) / len(i)


class RankedList(Reference):
    """Wang et al., "Ranked List Loss for Deep Metric Learning", 2019, eq. 4-9. PML drops negatives at distance 0."""

    kinds = frozenset(RANKED)

    def __init__(self, margin, tn, imbalance, alpha, tp):
        self.alpha = 1 + margin / 2 if alpha is None else alpha
        self.inner, self.tn, self.tp, self.imbalance = self.alpha - margin, tn, tp, imbalance

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        x = unit(embeddings)
        scores = differences(x, x)
        positive, negative = masks(labels)
        too_far = self.side(scores - self.inner, positive, self.tp)
        too_near = self.side(self.alpha - scores, negative, self.tn)
        return ((1 - self.imbalance) * too_far + self.imbalance * too_near).mean()

    def side(self, violation, mask, temperature):
        weight = torch.exp(temperature * violation) * (mask & (violation > 0))
        # PML's guard against empty rows: 1e-5 for every row of the batch.
        return (weight * violation).sum(1) / (weight.sum(1) + 1e-5 * len(weight))


class RecallAtK(Reference):
    """Patel, Tolias, Matas, "Recall@k Surrogate Loss with Large Batches and Similarity Mixup", 2022, eq. 4-7."""

    kinds = frozenset(RANKED)

    def __init__(self, ks, temperature, anneal):
        self.ks, self.temperature, self.anneal = ks, temperature, anneal

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        scores = cosines(embeddings, embeddings)
        positive, _ = masks(labels)
        recalls = []
        for q in range(len(labels)):
            count = int(positive[q].sum())
            if count:
                above = torch.sigmoid(ahead(scores[q], positive[q]) / self.anneal)
                rank = 1 + (above * others(q, positive[q])).sum(1)
                for k in self.ks:
                    hits = torch.sigmoid((k - rank) / self.temperature).sum()
                    recalls.append(hits.clamp(max=k) / min(k, count))
        return 1 - torch.stack(recalls).mean() if recalls else nothing(embeddings)


def ahead(scores, positive):
    """`s_z − s_p` for each positive p and each row z."""
    return scores.unsqueeze(0) - scores[positive].unsqueeze(1)


def others(query, positive):
    """For each positive: the rows that are neither it nor the query."""
    mask = ~torch.eye(len(positive), dtype=torch.bool)[positive]
    mask[:, query] = False
    return mask


class SmoothAp(Reference):
    """Brown et al., "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", 2020. PML mixes up P and K."""

    kinds = frozenset({PLAIN, HUGE, TUPLES})

    def __init__(self, temperature, include_self):
        self.temperature, self.include_self = temperature, include_self

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        scores = cosines(embeddings, embeddings)
        positive, _ = masks(labels)
        weight = weights(tuples, len(labels), scores.dtype)
        each = []
        for q in range(len(labels)):
            if positive[q].any():
                right = positive[q].clone()
                right[q] = self.include_self
                mask = ~torch.eye(len(labels), dtype=torch.bool)[right]
                mask[:, q] &= self.include_self
                above = torch.sigmoid(ahead(scores[q], right) / self.temperature) * mask
                ap = ((1 + above[:, right].sum(1)) / (1 + above.sum(1))).mean()
                each.append(weight[q] * (1 - ap))
        return torch.stack(each).mean() if each else nothing(embeddings)


class Roadmap(Reference):
    """Ramzi et al., "Robust and Decomposable Average Precision for Image Retrieval", 2021, eq. 4-7, as the authors' code."""

    kinds = frozenset(RANKED)

    def __init__(self, tau, rho, delta, offset, pos_margin, neg_margin, weight):
        self.tau, self.rho, self.delta, self.offset = tau, rho, delta, offset
        self.pos_margin, self.neg_margin, self.weight = pos_margin, neg_margin, weight

    def step(self, t):
        soft = torch.sigmoid(t / self.tau)
        return torch.where(t <= 0, soft, torch.where(t <= self.delta, 0.5 + soft, self.rho * t + self.offset))

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        scores = cosines(embeddings, embeddings)
        positive, negative = masks(labels)
        each = []
        for q in range(len(labels)):
            if positive[q].any():
                gaps = ahead(scores[q], positive[q])
                # A positive is not below itself.
                rank = (gaps[:, positive[q]] >= 0).sum(1).to(scores.dtype)
                each.append(1 - (rank / (rank + self.step(gaps[:, negative[q]]).sum(1))).mean())
        ranking = torch.stack(each).mean() if each else nothing(embeddings)
        calibration = mean_non_zero(relu(self.pos_margin - scores[positive]), embeddings)
        calibration = calibration + mean_non_zero(relu(scores[negative] - self.neg_margin), embeddings)
        return (1 - self.weight) * ranking + self.weight * calibration


DEFINED = {
    "histogram": lambda dim, classes, num_bins: Histogram(num_bins),
    "ranked_list": lambda dim, classes, **params: RankedList(**params),
    "recall_at_k": lambda dim, classes, **params: RecallAtK(**params),
    "roadmap": lambda dim, classes, **params: Roadmap(
        weight=params["lambda"], **{k: v for k, v in params.items() if k != "lambda"}
    ),
    "smooth_ap": lambda dim, classes, **params: SmoothAp(**params),
}
