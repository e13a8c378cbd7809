"""The pair losses that pytorch-metric-learning (PML) has, under our names and with our parameters."""

import torch
from pytorch_metric_learning import losses, miners
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

from .base import HUGE, PLAIN, REFERENCES, TUPLES, VIEWS, Learned, Pml, Reference
from .base import cosines, distance, masks, nothing, raw_if_told

PAIRS = (PLAIN, HUGE, REFERENCES, TUPLES)


def angular(dim, classes, alpha, normalize):
    if not normalize:
        raise KeyError("PML's angular loss always normalises")
    # PML leaves the negatives as they are: rows are normalised before.
    return Pml(losses.AngularLoss(alpha), PAIRS, projected=True)


def circle(dim, classes, m, gamma):
    return Pml(losses.CircleLoss(m, gamma), PAIRS)


class SquaredContrastive(losses.ContrastiveLoss):
    """Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", 2006: half the squares."""

    def get_per_pair_loss(self, pair_dists, pos_or_neg):
        return super().get_per_pair_loss(pair_dists, pos_or_neg).square() / 2


def contrastive(dim, classes, metric, normalize, pos_margin, neg_margin, power):
    kind = {1: losses.ContrastiveLoss, 2: SquaredContrastive}[power]
    return Pml(kind(pos_margin, neg_margin, distance=distance(metric, normalize)), PAIRS)


class DynamicSoftMargin(Pml):
    def __call__(self, *batch):
        # What is remembered is a constant of this step: PML would go back into the last one.
        self.loss.hist_ = self.loss.hist_.detach()
        return super().__call__(*batch)


def dynamic_soft_margin(dim, classes, min_val, num_bins, momentum, normalize):
    loss = losses.DynamicSoftMarginLoss(min_val, num_bins, momentum)
    return DynamicSoftMargin(raw_if_told(loss, normalize), PAIRS)


def generalized_lifted_structure(dim, classes, neg_margin, pos_margin, metric, normalize):
    loss = losses.GeneralizedLiftedStructureLoss(neg_margin, pos_margin, distance=distance(metric, normalize))
    return Pml(loss, PAIRS)


def intra_pair_variance(dim, classes, pos_eps, neg_eps):
    return Pml(losses.IntraPairVarianceLoss(pos_eps, neg_eps), PAIRS)


class LiftedStructureLoss(losses.LiftedStructureLoss):
    """Against references, PML takes a positive's number for an anchor's. Here a reference has no negatives."""

    def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
        if ref_emb is not embeddings:
            a1, p, a2, n = lmu.convert_to_pairs(indices_tuple, labels, ref_labels)
            # No anchor has the number of a shifted reference.
            indices_tuple = (a1, p + len(embeddings), a2, n + len(embeddings))
            ref_emb = torch.cat([embeddings, ref_emb])
        return super().compute_loss(embeddings, labels, indices_tuple, ref_emb, ref_labels)


def lifted_structure(dim, classes, neg_margin, pos_margin, metric, normalize):
    return Pml(LiftedStructureLoss(neg_margin, pos_margin, distance=distance(metric, normalize)), PAIRS)


def margin(dim, classes, margin, beta, learn_beta, per_class, nu, metric, normalize):
    number = classes if per_class else None
    space = distance(metric, normalize)
    loss = losses.MarginLoss(margin, nu, beta, learn_beta=learn_beta, num_classes=number, distance=space)
    kinds = set(PAIRS) - ({HUGE} if per_class else set())
    return Pml(loss, kinds, learned={"beta": Learned(loss, "beta")} if learn_beta else {})


def multi_similarity(dim, classes, alpha, beta, base, epsilon):
    miner = None if epsilon is None else miners.MultiSimilarityMiner(epsilon)
    return Pml(losses.MultiSimilarityLoss(alpha, beta, base), PAIRS, miner=miner)


class Nca(Pml):
    """PML's loss, and 0 where no row has a positive: PML takes the mean of nothing."""

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        if not masks(labels, reference_labels)[0].any():
            return nothing(embeddings)
        return super().__call__(embeddings, labels, tuples, references, reference_labels)


def nca(dim, classes, softmax_scale, metric, normalize):
    return Nca(losses.NCALoss(softmax_scale, distance=distance(metric, normalize)), PAIRS)


def nt_xent(dim, classes, temperature, metric, normalize):
    return Pml(losses.NTXentLoss(temperature, distance=distance(metric, normalize)), PAIRS)


def snr_contrastive(dim, classes, pos_margin, neg_margin, normalize):
    space = distance("snr", normalize)
    loss = losses.SignalToNoiseRatioContrastiveLoss(pos_margin=pos_margin, neg_margin=neg_margin, distance=space)
    return Pml(loss, PAIRS)


def sup_con(dim, classes, temperature):
    return Pml(losses.SupConLoss(temperature), PAIRS)


class Triplet(Pml):
    """PML's loss, and the distance between positive and negative where PML cannot find it: `swap` against references."""

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        if references is None or not self.loss.swap:
            return super().__call__(embeddings, labels, tuples, references, reference_labels)
        tuples = self.miner and self.miner(embeddings, labels, references, reference_labels)
        a, p, n = lmu.convert_to_triplets(tuples, labels, reference_labels, "all")
        # Each triplet's anchor, positive and negative as rows of one batch: PML's indices are right there.
        rows = torch.cat([embeddings, references])
        return self.loss(rows, torch.zeros(len(rows), dtype=torch.long), (a, p + len(embeddings), n + len(embeddings)))


def triplet(dim, classes, margin, mining, soft, swap, metric, normalize):
    space = distance(metric, normalize)
    miner = {
        "all": lambda: None,
        "hard": lambda: miners.TripletMarginMiner(margin, "hard", distance=space),
        "semi_hard": lambda: miners.TripletMarginMiner(margin, "semihard", distance=space),
        "easy": lambda: miners.TripletMarginMiner(margin, "easy", distance=space),
        "batch_hard": lambda: miners.BatchHardMiner(distance=space),
    }[mining]()
    loss = losses.TripletMarginLoss(margin, swap=swap, smooth_loss=soft, distance=space)
    return Triplet(loss, PAIRS, miner=miner)


class Tuplet(Pml):
    def undefined(self, embeddings, labels):
        close = cosines(embeddings, embeddings).abs() > 1 - 1e-9
        pairs = labels.unsqueeze(1) == labels.unsqueeze(0)
        pairs.fill_diagonal_(False)
        return "the slope of acos is infinite at a positive pair of cosine ±1" if (close & pairs).any() else None


def tuplet_margin(dim, classes, margin, scale):
    return Tuplet(losses.TupletMarginLoss(margin, scale), PAIRS)


class VicReg(Reference):
    kinds = frozenset({VIEWS})

    def __init__(self, loss):
        self.loss = loss

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        return self.loss(embeddings, ref_emb=references)


def instance(dim, classes, gamma):
    return Pml(losses.InstanceLoss(gamma), (PLAIN, HUGE))


def threshold_consistent_margin(dim, classes, lambda_plus, lambda_minus, margin_plus, margin_minus):
    loss = losses.ThresholdConsistentMarginLoss(lambda_plus, lambda_minus, margin_plus, margin_minus)
    return Pml(loss, (PLAIN, HUGE, TUPLES))


def vic_reg(dim, classes, invariance, variance, covariance, eps):
    return VicReg(losses.VICRegLoss(invariance, variance, covariance, eps))


class ScaledDotProduct(distance("dot", True).__class__):
    """PML's N-pair loss has no temperature: it comes in by the distance."""

    def __init__(self, scale, **settings):
        super().__init__(**settings)
        self.scale = scale

    def compute_mat(self, queries, references):
        return self.scale * super().compute_mat(queries, references)


class NPairs(Pml):
    """PML's loss, plus what Sohn 2016 §3.2.2 adds and PML cannot say: `l2 · mean ‖f‖²` over the anchors and positives."""

    def __init__(self, normalize, scale, l2):
        loss = losses.NPairsLoss(distance=ScaledDotProduct(scale, normalize_embeddings=normalize))
        super().__init__(loss, (PLAIN, HUGE, TUPLES))
        self.l2 = l2

    def __call__(self, embeddings, labels, tuples=None, references=None, reference_labels=None):
        loss = self.loss(embeddings, labels, tuples)
        if self.l2 == 0:
            return loss
        used = torch.cat(lmu.convert_to_pos_pairs_with_unique_labels(tuples, labels))
        return loss if len(used) == 0 else loss + self.l2 * embeddings[used].square().sum(1).mean()


def n_pairs(dim, classes, normalize, scale, l2):
    return NPairs(normalize, scale, l2)


PML = {
    make.__name__: make
    for make in (
        angular,
        circle,
        contrastive,
        dynamic_soft_margin,
        generalized_lifted_structure,
        instance,
        intra_pair_variance,
        lifted_structure,
        margin,
        multi_similarity,
        n_pairs,
        nca,
        nt_xent,
        snr_contrastive,
        sup_con,
        threshold_consistent_margin,
        triplet,
        tuplet_margin,
        vic_reg,
    )
}
