#!/usr/bin/env python3
"""Makes `miners.safetensors`: what PML's deterministic miners return, on the batches of the losses. See README.md.

Index lists are sorted: pairs by anchor and other, triplets by anchor, positive and negative.
"""

import math

import numpy as np
import torch
from pytorch_metric_learning import miners

import patches
from batches import all_batches, classes_of
from golden_file import save
from references.base import GRADES, VIEWS, distance, masks
from rounding import ROUNDINGS, shaken


class Raw(miners.BaseMiner):
    """A miner of our own."""

    def __init__(self, mine, space):
        super().__init__(distance=space)
        self.rule = mine

    def mine(self, embeddings, labels, ref_emb, ref_labels):
        far = self.distance(embeddings, ref_emb) * (-1 if self.distance.is_inverted else 1)
        return self.rule(far, *masks(labels, None if ref_labels is labels else ref_labels))


def n_hard(positive_ranks, negative_ranks):
    """Per anchor: positives of these ranks, furthest first, with negatives of these, nearest first (OML's NHardTriplets)."""

    def mine(far, positive, negative):
        triplets = []
        for a in range(len(far)):
            of = lambda mask, sign: sorted(torch.nonzero(mask[a]).flatten().tolist(), key=lambda j: sign * far[a, j])
            for p in of(positive, -1)[slice(*positive_ranks)]:
                triplets += [(a, p, n) for n in of(negative, 1)[slice(*negative_ranks)]]
        return tuple(torch.tensor(triplets, dtype=torch.long).reshape(-1, 3).t())

    return mine


class UnitAngular(miners.AngularMiner):
    """PML's compares rows as they are, though its distance normalises: normalised before."""

    def mine(self, embeddings, labels, ref_emb, ref_labels):
        return super().mine(*(patches.unit(embeddings), labels, patches.unit(ref_emb), ref_labels))


class Hdc(Raw):
    """PML's HDCMiner with an order among equals: by anchor, then by the other. PML leaves it to `topk`."""

    def __init__(self, share, space):
        super().__init__(self.hardest, space)
        self.share = share

    def hardest(self, far, positive, negative):
        lists = []
        for mask, sign in ((positive, -1), (negative, 1)):
            a, b = torch.where(mask)
            kept = torch.argsort(sign * far[a, b], stable=True)[: math.ceil(self.share * len(a))]
            lists += [a[kept], b[kept]]
        return tuple(lists)


STRATEGIES = {"easy": "easy", "semi_hard": "semihard", "hard": "hard", "all": "all"}


def easy_hard(positive, negative, positive_range=None, negative_range=None, metric="euclidean", normalize=True):
    make = lambda: miners.BatchEasyHardMiner(
        STRATEGIES[positive], STRATEGIES[negative], positive_range, negative_range, distance=distance(metric, normalize)
    )
    params = {
        "positive": positive,
        "negative": negative,
        "positive_range": positive_range,
        "negative_range": negative_range,
    }
    return "batch_easy_hard", params | {"metric": metric, "normalize": normalize}, make


def plain(name, make, metric="euclidean", normalize=True, **params):
    """`make(distance, **params)`."""
    build = lambda: make(distance(metric, normalize), **params)
    return name, params | {"metric": metric, "normalize": normalize}, build


angular = lambda space, angle: UnitAngular(angle, distance=space)
batch_hard = lambda space: miners.BatchHardMiner(distance=space)
hdc = lambda space, filter_percentage: Hdc(filter_percentage, space)
multi_similarity = lambda space, epsilon: miners.MultiSimilarityMiner(epsilon, distance=space)
pair_margin = lambda space, pos_margin, neg_margin: miners.PairMarginMiner(pos_margin, neg_margin, distance=space)
triplet_margin = lambda space, margin, kind: miners.TripletMarginMiner(
    margin, STRATEGIES[kind].replace("_", ""), distance=space
)
ranks = lambda space, positive_ranks, negative_ranks: Raw(n_hard(positive_ranks, negative_ranks), space)

# Case -> our name, parameters, how PML's is made.
CASES = (
    {
        "angular": plain("angular", angular, angle=20.0),
        "angular_wide": plain("angular", angular, angle=35.0),
        "batch_hard": plain("batch_hard", batch_hard),
        "batch_hard_cosine": plain("batch_hard", batch_hard, "cosine"),
        "batch_hard_raw": plain("batch_hard", batch_hard, "euclidean", False),
        "hdc": plain("hdc", hdc, filter_percentage=0.5),
        "hdc_few_cosine": plain("hdc", hdc, "cosine", filter_percentage=0.2),
        "multi_similarity": plain("multi_similarity", multi_similarity, "cosine", epsilon=0.1),
        "multi_similarity_wide": plain("multi_similarity", multi_similarity, "cosine", epsilon=0.5),
        "multi_similarity_euclidean": plain("multi_similarity", multi_similarity, epsilon=0.2),
        "pair_margin": plain("pair_margin", pair_margin, pos_margin=0.2, neg_margin=0.8),
        "pair_margin_cosine": plain("pair_margin", pair_margin, "cosine", pos_margin=0.8, neg_margin=0.1),
        "packaged_triplets": (
            "packaged_triplets",
            {"metric": "euclidean", "normalize": True},
            miners.EmbeddingsAlreadyPackagedAsTriplets,
        ),
        "triplet_margin": plain("triplet_margin", triplet_margin, margin=0.2, kind="all"),
        "triplet_margin_hard": plain("triplet_margin", triplet_margin, margin=0.2, kind="hard"),
        "triplet_margin_semi_hard": plain("triplet_margin", triplet_margin, margin=0.2, kind="semi_hard"),
        "triplet_margin_easy": plain("triplet_margin", triplet_margin, margin=0.2, kind="easy"),
        "triplet_margin_cosine": plain("triplet_margin", triplet_margin, "cosine", margin=0.3, kind="semi_hard"),
        "triplet_margin_raw_squared": plain(
            "triplet_margin", triplet_margin, "squared_euclidean", False, margin=2.0, kind="all"
        ),
        "n_hard": plain("n_hard", ranks, positive_ranks=[0, 1], negative_ranks=[0, 1]),
        "n_hard_more": plain("n_hard", ranks, positive_ranks=[0, 2], negative_ranks=[1, 4]),
    }
    | {
        # `semi_hard` goes with neither itself nor `all`.
        f"batch_easy_hard_{positive}_{negative}": easy_hard(positive, negative)
        for positive in STRATEGIES
        for negative in STRATEGIES
        if "semi_hard" not in (positive, negative) or {positive, negative}.isdisjoint({"all"}) and positive != negative
    }
    | {
        "batch_easy_hard_cosine": easy_hard("easy", "semi_hard", metric="cosine"),
        "batch_easy_hard_ranges": easy_hard("hard", "hard", [0.3, 1.0], [0.5, 1.2]),
        "batch_easy_hard_raw_ranges": easy_hard("easy", "hard", [1.0, 3.0], None, normalize=False),
    }
)

# Those that also mine the large batch: lists of all triplets would be most of the file.
LARGE = ("batch_hard", "multi_similarity", "n_hard", "batch_easy_hard_easy_semi_hard", "pair_margin")


def order(mined):
    """The lists as u32, by name, each sorted."""
    lists = [np.asarray(x, dtype=np.uint32) for x in mined]
    names, groups = (("a", "p", "n"), [lists]) if len(lists) == 3 else (("a1", "p", "a2", "n"), [lists[:2], lists[2:]])
    sorted_lists = [x[np.lexsort(group[::-1])] for group in groups for x in group]
    return dict(zip(names, sorted_lists))


def mine(miner, batch, dtype):
    x, labels = torch.tensor(batch.embeddings, dtype=dtype), classes_of(batch.labels)
    if "ref_embeddings" not in batch.extra:
        return order(miner(x, labels))
    refs = torch.tensor(batch.extra["ref_embeddings"], dtype=dtype)
    return order(miner(x, labels, refs, classes_of(batch.extra["ref_labels"])))


def evaluate(make, batch):
    """(lists, None), or ({}, why there are none)."""
    try:
        lists = mine(make(), batch, torch.float64)
    except AssertionError:
        return {}, "rows not in threes"
    for seed in range(ROUNDINGS):
        other = mine(make(), shaken(batch, seed), torch.float32)
        if not all(np.array_equal(lists[name], other[name]) for name in lists):
            return {}, "rounding decides"
    return lists, None


def main():
    patches.apply()
    cases = {}
    for case, (name, params, make) in CASES.items():
        outputs, undefined = {}, {}
        for batch_name, batch in all_batches().items():
            if batch.kind in (GRADES, VIEWS) or (len(batch.labels) > 16 and case not in LARGE):
                continue
            lists, reason = evaluate(make, batch)
            outputs |= {f"{batch_name}/{list_name}": values for list_name, values in lists.items()}
            if reason:
                undefined[batch_name] = reason
        print(case, undefined)
        cases[case] = ({"miner": name, "params": params, "undefined": undefined}, outputs)
    save("miners.safetensors", cases)


if __name__ == "__main__":
    main()
