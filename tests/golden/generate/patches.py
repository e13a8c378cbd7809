"""What is mended in pytorch-metric-learning (PML) before it serves as a reference. README.md lists the reasons."""

import torch
from pytorch_metric_learning import distances, losses
from pytorch_metric_learning.utils import loss_and_miner_utils as lmu

# Norms below this count as 0.
SMALLEST = 1e-12


def unit(x, dim=1):
    """Rows over their norms. Rows of zeros stay zeros with gradient 0, where torch's `normalize` multiplies it by 1e12."""
    norm = x.norm(dim=dim, keepdim=True)
    zero = norm < SMALLEST
    return torch.where(zero, torch.zeros_like(x), x / torch.where(zero, torch.ones_like(norm), norm))


def differences(x, y, p=2):
    """Distances `[n, m]` by subtraction: `torch.cdist` loses digits above 25 rows. The gradient at distance 0 is 0."""
    return torch.linalg.vector_norm(x.unsqueeze(1) - y.unsqueeze(0), ord=p, dim=2)


def snr(x, y):
    """Signal-to-noise distances `[n, m]`, 0 for a constant anchor, where PML divides by 0."""
    variance = x.var(dim=1, keepdim=True)
    zero = variance == 0
    ratio = (x.unsqueeze(1) - y).var(dim=2) / torch.where(zero, torch.ones_like(variance), variance)
    return torch.where(zero, torch.zeros_like(ratio), ratio)


def pair_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
    """`GenericPairLoss.compute_loss` without its rule that one positive and one negative pair are worth 0."""
    pairs = lmu.convert_to_pairs(indices_tuple, labels, ref_labels)
    if all(len(x) == 0 for x in pairs):
        return self.zero_losses()
    return self.loss_method(self.distance(embeddings, ref_emb), pairs)


def apply():
    # Always the L2 norm: PML's LpDistance normalises by its own p.
    distances.BaseDistance.normalize = lambda self, x, dim=1: unit(x, dim)
    distances.LpDistance.compute_mat = lambda self, x, y: differences(x, y, self.p)
    # PML adds 1e-6 to every difference.
    distances.LpDistance.pairwise_distance = lambda self, x, y: torch.linalg.vector_norm(x - y, ord=self.p, dim=1)
    distances.SNRDistance.compute_mat = lambda self, x, y: snr(x, y)
    losses.GenericPairLoss.compute_loss = pair_loss
