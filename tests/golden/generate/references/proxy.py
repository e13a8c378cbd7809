"""The losses against learned vectors: pytorch-metric-learning's (PML), and definitions where it has none."""

import math

import torch
from pytorch_metric_learning import losses, regularizers
from torch.nn.functional import cross_entropy, one_hot

from patches import differences, unit

from .base import PLAIN, TUPLES, Learned, Pml, Reference, cosines, weights

WEIGHTED = (PLAIN, TUPLES)


def all_classes(sample_rate):
    """A sample of the classes is drawn at random: no reference for that."""
    if sample_rate != 1.0:
        raise KeyError("PML always takes all classes")


def of(loss, attribute, transposed, **settings):
    learned = {"proxies": Learned(loss, attribute, transposed)}
    return Pml(loss, WEIGHTED, learned, **settings)


def arc_face(dim, classes, margin, scale, sample_rate):
    all_classes(sample_rate)
    return of(losses.ArcFaceLoss(classes, dim, margin, scale), "W", True)


def cos_face(dim, classes, margin, scale, sample_rate):
    all_classes(sample_rate)
    return of(losses.CosFaceLoss(classes, dim, margin=margin, scale=scale), "W", True)


class NoGradientAtZero(Pml):
    def undefined(self, embeddings, labels):
        return "no gradient at a row of zeros, whose norm is a factor" if (embeddings == 0).all(1).any() else None


def large_margin_softmax(dim, classes, margin, scale):
    loss = losses.LargeMarginSoftmaxLoss(classes, dim, margin, scale)
    return NoGradientAtZero(loss, WEIGHTED, {"proxies": Learned(loss, "W", True)})


def sphere_face(dim, classes, margin, scale):
    loss = losses.SphereFaceLoss(classes, dim, margin, scale)
    return NoGradientAtZero(loss, WEIGHTED, {"proxies": Learned(loss, "W", True)})


def normalized_softmax(dim, classes, temperature, sample_rate):
    all_classes(sample_rate)
    return of(losses.NormalizedSoftmaxLoss(classes, dim, temperature), "W", True)


def p2s_grad(dim, classes):
    loss = losses.P2SGradLoss(dim, classes)
    return Pml(loss, (PLAIN,), {"proxies": Learned(loss, "weight", True)})


def proxy_anchor(dim, classes, margin, alpha):
    return of(losses.ProxyAnchorLoss(classes, dim, margin, alpha), "proxies", False)


def proxy_nca(dim, classes, softmax_scale, positive_in_denominator):
    if not positive_in_denominator:
        raise KeyError("PML keeps the positive in the denominator")
    loss = losses.ProxyNCALoss(classes, dim, softmax_scale=softmax_scale)
    wrapped = of(loss, "proxies", False)
    alone = wrapped.loss

    def weighted(embeddings, labels, tuples):
        # PML takes the proxies for references here, and so counts a row as an anchor only, unlike in all other losses.
        if tuples is None:
            return alone(embeddings, labels, None)
        logits = -softmax_scale * differences(unit(embeddings), unit(loss.proxies)).square()
        each = cross_entropy(logits, labels, reduction="none")
        return (each * weights(tuples, len(labels), each.dtype)).mean()

    wrapped.loss = weighted
    return wrapped


def soft_triple(dim, classes, centers_per_class, la, gamma, margin, tau):
    spread = regularizers.SparseCentersRegularizer(classes, centers_per_class) if tau else None
    loss = losses.SoftTripleLoss(
        classes, dim, centers_per_class, la, gamma, margin, weight_regularizer=spread, weight_reg_weight=tau
    )
    return of(loss, "fc", True, centers=centers_per_class)


def sub_center_arc_face(dim, classes, margin, scale, sub_centers):
    loss = losses.SubCenterArcFaceLoss(
        num_classes=classes, embedding_size=dim, margin=margin, scale=scale, sub_centers=sub_centers
    )
    return of(loss, "W", True, centers=sub_centers)


def manifold(dim, classes, proxies, alpha, margin, **weight):
    loss = losses.ManifoldLoss(dim, proxies, weight["lambda"], alpha, margin)
    wrapped = Pml(loss, (PLAIN,), {"proxies": Learned(loss, "proxies")})
    # Meta-classes are drawn at random, whatever the labels.
    wrapped.loss = lambda embeddings, labels, tuples: loss(embeddings)
    return wrapped


PML = {
    make.__name__: make
    for make in (
        arc_face,
        cos_face,
        large_margin_softmax,
        manifold,
        normalized_softmax,
        p2s_grad,
        proxy_anchor,
        proxy_nca,
        soft_triple,
        sphere_face,
        sub_center_arc_face,
    )
}


class WithProxies(Reference):
    """A definition with `proxies`."""

    kinds = frozenset(WEIGHTED)
    proxies = None

    @property
    def learned(self):
        return {"proxies": Learned(self, "proxies")}


class AdaFace(WithProxies):
    """Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", 2022, with the constants of its code."""

    def __init__(self, margin, h, scale, momentum):
        self.margin, self.h, self.scale, self.momentum = margin, h, scale, momentum
        self.mean, self.std = 20.0, 100.0

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        eps = 1e-3
        norm = embeddings.detach().norm(dim=1).clamp(1e-3, 100)
        self.mean = self.momentum * norm.mean() + (1 - self.momentum) * self.mean
        self.std = self.momentum * norm.std() + (1 - self.momentum) * self.std
        quality = ((norm - self.mean) / (self.std + eps) * self.h).clamp(-1, 1)
        scores = cosines(embeddings, self.proxies).clamp(eps - 1, 1 - eps)
        own = scores[torch.arange(len(labels)), labels]
        angle = (own.acos() - self.margin * quality).clamp(eps, math.pi - eps)
        target = angle.cos() - self.margin * (1 + quality)
        logits = self.scale * torch.where(one_hot(labels, scores.shape[1]).bool(), target.unsqueeze(1), scores)
        each = cross_entropy(logits, labels, reduction="none")
        return (each * weights(tuples, len(labels), each.dtype)).mean()


class P2sGrad(WithProxies):
    """Zhang et al., "P2SGrad: Refined Gradients for Optimizing Deep Face Models", 2019, as the squared error of PML."""

    kinds = frozenset({PLAIN})

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        scores = cosines(embeddings, self.proxies).clamp(-1, 1)
        return (scores - one_hot(labels, scores.shape[1])).square().mean()


class ProxyNca(WithProxies):
    """Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies", 2017, eq. 4: the positive not below."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        logits = -self.scale * differences(unit(embeddings), unit(self.proxies)).square()
        own = one_hot(labels, logits.shape[1]).bool()
        each = logits.masked_fill(own, -math.inf).logsumexp(1) - logits[own]
        return (each * weights(tuples, len(labels), each.dtype)).mean()


class Manifold(WithProxies):
    """Aziere and Todorovic, "Ensemble Deep Manifold Similarity Learning using Hard Proxies", 2019; PML inverts in f32."""

    kinds = frozenset({PLAIN})

    def __init__(self, proxies, alpha, margin, context):
        self.rows, self.alpha, self.margin, self.context = proxies, alpha, margin, context

    def meta_classes(self, n):
        """Each row's proxy, as `BATCH/meta_classes`."""
        return torch.randint(self.rows, (n,), generator=torch.Generator().manual_seed(n))

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        n = len(embeddings)
        nodes = torch.cat([embeddings, self.proxies])
        near = torch.exp(2 * cosines(nodes, nodes).clamp(min=0)) * (1 - torch.eye(len(nodes), dtype=nodes.dtype))
        root = near.sum(1).rsqrt()
        walk = root.unsqueeze(1) * near * root.unsqueeze(0)
        reach = (1 - self.alpha) * torch.linalg.inv(torch.eye(len(nodes), dtype=nodes.dtype) - self.alpha * walk)
        rows = unit(reach)
        own = self.meta_classes(n)
        return self.side(reach[:n, n:], own) + self.context * self.side(rows[:n] @ rows[n:].t(), own)

    def side(self, scores, own):
        at = torch.arange(len(own))
        upper = scores - scores[at, own].unsqueeze(1) + self.margin
        out = (upper < 0) | one_hot(own, scores.shape[1]).bool()
        return torch.log(1 + upper.exp().masked_fill(out, 0).sum(1)).mean()


DEFINED = {
    "ada_face": lambda dim, classes, **params: AdaFace(**params),
    "manifold": lambda dim, classes, proxies, alpha, margin, **weight: Manifold(
        proxies, alpha, margin, weight["lambda"]
    ),
    "p2s_grad": lambda dim, classes: P2sGrad(),
    "proxy_nca": lambda dim, classes, softmax_scale, positive_in_denominator: (
        proxy_nca(dim, classes, softmax_scale, True) if positive_in_denominator else ProxyNca(softmax_scale)
    ),
}
