"""Pair losses that pytorch-metric-learning has not, or has wrong: in plain torch, from their papers."""

import math

import torch
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu
from torch.nn.functional import cross_entropy, relu, softplus

from patches import unit

from .base import GRADES, HUGE, PLAIN, REFERENCES, TUPLES, VIEWS, Learned, Reference
from .base import cosines, distance, first_rows, masks, nothing
from .pairs import PML


class Angular(Reference):
    """Wang et al., "Deep Metric Learning with Angular Loss", 2017, eq. 8, with every negative, on raw vectors."""

    kinds = frozenset({PLAIN, HUGE, REFERENCES, TUPLES})

    def __init__(self, alpha):
        self.square = math.tan(math.radians(alpha)) ** 2

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        refs = embeddings if references is None else references
        a, p, a2, _ = lmu.convert_to_pairs(tuples, labels, labels if references is None else reference_labels)
        if len(a) == 0 or len(a2) == 0:
            return nothing(embeddings)
        x, y = embeddings[a], refs[p]
        upper = 4 * self.square * (x + y) @ refs.t() - 2 * (1 + self.square) * (x * y).sum(1, keepdim=True)
        _, negative = masks(labels, reference_labels)
        return log_one_plus(upper, negative[a]).mean()


def log_one_plus(x, mask):
    """`log(1 + Σ e^x)` over the masked entries of each row."""
    x = x.masked_fill(~mask, -math.inf)
    return torch.cat([x, x.new_zeros(len(x), 1)], dim=1).logsumexp(1)


def angular(dim, classes, alpha, normalize):
    return PML["angular"](dim, classes, alpha, normalize) if normalize else Angular(alpha)


class CentroidTriplet(Reference):
    """Wieczorek et al., "On the Unreasonable Effectiveness of Centroids in Image Retrieval", 2021, eq. 2."""

    kinds = frozenset({PLAIN, HUGE, REFERENCES})

    def __init__(self, margin, soft, metric, normalize):
        self.margin, self.soft, self.normalize, self.space = margin, soft, normalize, distance(metric, False)

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        x = unit(embeddings) if self.normalize else embeddings
        refs = x if references is None else unit(references) if self.normalize else references
        positive, _ = masks(labels, reference_labels)
        others = labels if references is None else reference_labels
        centroids = {label.item(): refs[others == label].mean(0) for label in others.unique()}
        terms = []
        for i, label in enumerate(labels.tolist()):
            away = [centroid for k, centroid in centroids.items() if k != label]
            if positive[i].any() and away:
                scores = self.space(x[i : i + 1], torch.stack([refs[positive[i]].mean(0), *away]))[0]
                terms.append(self.space.margin(scores[0], scores[1:]) + self.margin)
        if not terms:
            return nothing(embeddings)
        return mean_non_zero((softplus if self.soft else relu)(torch.cat(terms)), embeddings)


def mean_non_zero(terms, embeddings):
    kept = terms[terms > 0]
    return kept.mean() if len(kept) else nothing(embeddings)


def centroid_triplet(dim, classes, margin, soft, metric, normalize):
    return CentroidTriplet(margin, soft, metric, normalize)


class Graded(Reference):
    """CoSENT (Su 2022) over the pairs of rows 2i and 2i + 1: a pair of a higher grade shall have a higher score."""

    kinds = frozenset({GRADES})

    def __init__(self, scale, score):
        self.scale, self.score = scale, score

    def __call__(self, embeddings, labels, grades):
        scores = self.scale * self.score(unit(embeddings[::2]), unit(embeddings[1::2]))
        upper = (scores.unsqueeze(0) - scores.unsqueeze(1))[grades.unsqueeze(1) > grades.unsqueeze(0)]
        return torch.cat([upper, upper.new_zeros(1)]).logsumexp(0)


def angle_score(x, y):
    """Li and Li, "AnglE-optimized Text Embeddings", 2023, eq. 7, as sentence-transformers: halves are real and imaginary."""
    (a, b), (c, d) = x.chunk(2, dim=1), y.chunk(2, dim=1)
    return ((a * c + b * d) + (b * c - a * d)).sum(1).abs()


def cosent(dim, classes, scale):
    return Graded(scale, lambda x, y: (x * y).sum(1))


def angle(dim, classes, scale):
    return Graded(scale, angle_score)


def ball(x, curvature, clip):
    """Points of the Poincaré ball: the norm clipped, then the exponential map at 0."""
    norm = x.norm(dim=1, keepdim=True)
    safe = torch.where(norm == 0, torch.ones_like(norm), norm)
    length = math.sqrt(curvature) * safe.clamp(max=clip)
    return torch.where(norm == 0, x, x * torch.tanh(length) / (math.sqrt(curvature) * safe))


def hyperbolic_distances(x, y, curvature):
    """`(2/√c) artanh(√c ‖−x ⊕ y‖)` `[n, m]`, with gradient 0 at distance 0."""
    c, x, y = curvature, -x.unsqueeze(1), y.unsqueeze(0)
    xy, xx, yy = (x * y).sum(2, keepdim=True), x.square().sum(2, keepdim=True), y.square().sum(2, keepdim=True)
    added = ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy)
    # Equal points, whose sum is 0 but for rounding, have no direction.
    same = (-x == y).all(dim=2)
    norm = torch.where(same.unsqueeze(2), torch.ones_like(added), added).norm(dim=2)
    far = torch.where(same, torch.zeros_like(norm), norm)
    return 2 / math.sqrt(c) * torch.atanh(math.sqrt(c) * far)


class Hyperbolic(Reference):
    """Ermolov et al., "Hyperbolic Vision Transformers", 2022, eq. 6: over all ordered pairs of the classes' n-th rows."""

    kinds = frozenset({PLAIN, HUGE})

    def __init__(self, curvature, clip, temperature):
        self.curvature, self.clip, self.temperature = curvature, clip, temperature

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        points = ball(embeddings, self.curvature, self.clip)
        logits = -hyperbolic_distances(points, points, self.curvature) / self.temperature
        rows = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
        slots = range(max(map(len, rows)))
        terms = []
        for a, b in ((a, b) for a in slots for b in slots if a != b):
            both = [r for r in rows if len(r) > max(a, b)]
            x, y = torch.stack([r[a] for r in both]), torch.stack([r[b] for r in both])
            own = logits[x][:, x].masked_fill(torch.eye(len(x), dtype=torch.bool), -math.inf)
            terms.append(cross_entropy(torch.cat([logits[x][:, y], own], dim=1), torch.arange(len(x))))
        return torch.stack(terms).mean() if terms else nothing(embeddings)


def hyperbolic(dim, classes, curvature, clip, temperature):
    return Hyperbolic(curvature, clip, temperature)


class Instance(Reference):
    """Zheng et al., "Dual-Path Convolutional Image-Text Embeddings with Instance Loss", 2020: each row is its own class."""

    kinds = frozenset({PLAIN, HUGE})

    def __init__(self, gamma):
        self.gamma = gamma

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        return cross_entropy(self.gamma * cosines(embeddings, embeddings), torch.arange(len(labels)))


def instance(dim, classes, gamma):
    return Instance(gamma)


class MegaBatchMargin(Reference):
    """Wieting and Gimpel, "ParaNMT-50M", 2018, eq. 3 with absolute margins, on the first two rows of each class."""

    kinds = frozenset({PLAIN, HUGE})

    def __init__(self, positive_margin, negative_margin, hard):
        self.positive_margin, self.negative_margin, self.hard = positive_margin, negative_margin, hard

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        rows = first_rows(labels, 2)
        if len(rows) == 0:
            return nothing(embeddings)
        scores = cosines(embeddings[rows[:, 0]], embeddings[rows[:, 1]])
        positive = relu(self.positive_margin - scores.diagonal()).mean()
        if len(rows) == 1:
            return positive
        others = scores[~torch.eye(len(rows), dtype=torch.bool)].view(len(rows), -1)
        others = others.max(1).values if self.hard else others
        return positive + relu(others - self.negative_margin).mean()


def mega_batch_margin(dim, classes, positive_margin, negative_margin, hard):
    return MegaBatchMargin(positive_margin, negative_margin, hard)


class Clip(Reference):
    """Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, figure 3."""

    kinds = frozenset({PLAIN, HUGE, VIEWS})

    def __init__(self, temperature, learn_temperature):
        self.logit_scale = torch.nn.Parameter(torch.tensor([-math.log(temperature)], dtype=torch.float64))
        self.learned = {"logit_scale": Learned(self, "logit_scale")} if learn_temperature else {}

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        if references is None:
            a, b = (embeddings[rows] for rows in first_rows(labels, 2).t())
        else:
            pairs = torch.nonzero(labels.unsqueeze(1) == reference_labels.unsqueeze(0))
            a, b = embeddings[pairs[:, 0]], references[pairs[:, 1]]
        if len(a) == 0:
            return nothing(embeddings) + nothing(self.logit_scale)
        logits, targets = self.logit_scale.exp() * cosines(a, b), torch.arange(len(a))
        return (cross_entropy(logits, targets) + cross_entropy(logits.t(), targets)) / 2


def clip(dim, classes, temperature, learn_temperature):
    return Clip(temperature, learn_temperature)


class Quadruplet(Reference):
    """Chen et al., "Beyond Triplet Loss: a Deep Quadruplet Network", 2017, eq. 9, with the hardest rows."""

    kinds = frozenset({PLAIN, HUGE})

    def __init__(self, margin, margin2, metric, normalize):
        self.margins, self.space = (margin, margin2), distance(metric, normalize)

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        scores = self.space(embeddings, embeddings)
        # How far, whatever the metric.
        far = scores.detach() * (-1 if self.space.is_inverted else 1)
        positive, negative = masks(labels)

        def pick(row, mask, furthest):
            """The first of the masked entries of `row` that is the furthest, or nearest."""
            return min(torch.nonzero(mask).flatten().tolist(), key=lambda j: -row[j] if furthest else row[j])

        terms = ([], [])
        for a in range(len(labels)):
            if positive[a].any() and negative[a].any():
                ap = scores[a, pick(far[a], positive[a], True)]
                an = scores[a, pick(far[a], negative[a], False)]
                terms[0].append(self.space.margin(ap, an))
                strangers = (negative & negative[a].unsqueeze(0) & negative[a].unsqueeze(1)).flatten()
                if strangers.any():
                    lk = scores.flatten()[pick(far.flatten(), strangers, False)]
                    terms[1].append(self.space.margin(ap, lk))
        parts = [relu(torch.stack(t) + m).mean() for t, m in zip(terms, self.margins) if t]
        return sum(parts) if parts else nothing(embeddings)


def quadruplet(dim, classes, margin, margin2, metric, normalize):
    return Quadruplet(margin, margin2, metric, normalize)


class SoftNearestNeighbours(Reference):
    """Frosst, Papernot, Hinton, "Analyzing and Improving Representations with the Soft Nearest Neighbor Loss", 2019."""

    kinds = frozenset({PLAIN, HUGE, REFERENCES})

    def __init__(self, temperature, metric, normalize):
        self.temperature, self.space = temperature, distance(metric, normalize)

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        scores = self.space(embeddings, embeddings if references is None else references) / self.temperature
        scores = scores if self.space.is_inverted else -scores
        positive, negative = masks(labels, reference_labels)
        asked = positive.any(1)
        if not asked.any():
            return nothing(embeddings)
        lse = lambda mask: scores[asked].masked_fill(~mask[asked], -math.inf).logsumexp(1)
        return (lse(positive | negative) - lse(positive)).mean()


def soft_nn(dim, classes, temperature, metric, normalize):
    return SoftNearestNeighbours(temperature, metric, normalize)


class ThresholdConsistentMargin(Reference):
    """Zhang et al., "Threshold-Consistent Margin Loss for Open-World Deep Metric Learning", 2024. PML ignores references."""

    kinds = frozenset({PLAIN, HUGE, REFERENCES, TUPLES})

    def __init__(self, lambda_plus, lambda_minus, margin_plus, margin_minus):
        self.plus, self.minus = (lambda_plus, margin_plus), (lambda_minus, margin_minus)

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        scores = cosines(embeddings, embeddings if references is None else references)
        a1, p, a2, n = lmu.convert_to_pairs(tuples, labels, labels if references is None else reference_labels)
        value = nothing(embeddings)
        for (weight, _), violation in (
            (self.plus, self.plus[1] - scores[a1, p]),
            (self.minus, scores[a2, n] - self.minus[1]),
        ):
            violation = violation[violation >= 0]
            if len(violation):
                value = value + weight * violation.mean()
        return value


def threshold_consistent_margin(dim, classes, lambda_plus, lambda_minus, margin_plus, margin_minus):
    return ThresholdConsistentMargin(lambda_plus, lambda_minus, margin_plus, margin_minus)


DEFINED = {
    make.__name__: make
    for make in (
        angle,
        angular,
        centroid_triplet,
        clip,
        cosent,
        hyperbolic,
        instance,
        mega_batch_margin,
        quadruplet,
        soft_nn,
        threshold_consistent_margin,
    )
}
