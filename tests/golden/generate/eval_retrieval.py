#!/usr/bin/env python3
"""Makes `eval/retrieval.safetensors`: retrieval as others measure it.

Run, all from one exact ranking (ties by smaller id, since their own searches leave ties open): pytorch-metric-learning's
AccuracyCalculator, torchmetrics' functional retrieval, scikit-learn's average_precision_score and ndcg_score.
Written out in numpy from their definitions, because the packages need whole frameworks: open-metric-learning,
sentence-transformers, TensorFlow Similarity, Roth et al. 2020, Market-1501's CMC and mAP. Where open-metric-learning and
sentence-transformers can be imported they are run and must agree.
"""

import numpy as np
import torch
import torchmetrics
import torchmetrics.functional.retrieval as tm
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from sklearn.metrics import average_precision_score, ndcg_score

from golden_file import save
from metrics import closeness, sets

KS = [1, 2, 3, 5]


# Sets of embeddings ---------------------------------------------------------------------------------------------------


class Set:
    """Queries and a gallery; `order` [q, m] ranks the gallery without what is excluded, padded with −1."""

    def __init__(self, metric, queries, query_labels, gallery=None, gallery_labels=None):
        self.own = gallery is None
        self.metric = metric
        self.q, self.ql = np.asarray(queries, dtype=np.float32), np.asarray(query_labels, dtype=np.uint32)
        self.g = self.q if self.own else np.asarray(gallery, dtype=np.float32)
        self.gl = self.ql if self.own else np.asarray(gallery_labels, dtype=np.uint32)
        close = cross(metric, self.q.astype(np.float64), self.g.astype(np.float64))
        if self.own:
            np.fill_diagonal(close, -np.inf)
        order = np.argsort(-close, axis=1, kind="stable")
        self.order = order[:, :-1] if self.own else order
        self.right = self.gl[self.order] == self.ql[:, None]
        self.relevant = self.right.sum(axis=1)

    def tensors(self):
        given = {"queries": self.q, "query_labels": self.ql}
        return given if self.own else given | {"gallery": self.g, "gallery_labels": self.gl}


def cross(metric, q, g):
    both = closeness(metric, np.concatenate([q, g]))
    return both[: len(q), len(q) :]


def all_sets():
    made = {name: Set(*given) for name, given in sets().items()}
    made["worked"] = Set("euclidean", [[0], [1], [2.4], [2.5], [5], [9]], [0, 0, 1, 0, 1, 2])
    random = np.random.default_rng(21)
    gallery_labels = random.integers(0, 6, 31)
    query_labels = np.concatenate([random.integers(0, 6, 12), [7, 8]])
    made["apart"] = Set(
        "cosine",
        random.normal(size=(14, 4)) + query_labels[:, None] % 5,
        query_labels,
        random.normal(size=(31, 4)) + gallery_labels[:, None] % 5,
        gallery_labels,
    )
    return made


# Packages -------------------------------------------------------------------------------------------------------------


def pml(s, k, averages):
    """Values of AccuracyCalculator under our names; with a number for k what it calls MAP and MRR is cut at k."""

    def search(query, num_k, reference, ref_includes_query):
        return None, torch.tensor(s.order[:, :num_k].copy())

    calculator = AccuracyCalculator(
        exclude=("NMI", "AMI"), avg_of_avgs=averages, k=k, device=torch.device("cpu"), knn_func=search
    )
    reference = {} if s.own else {"reference": s.g, "reference_labels": s.gl.astype(np.int64)}
    got = calculator.get_accuracy(s.q, s.ql.astype(np.int64), **reference)
    if k is None:
        names = ["precision@1", "r-precision", "map@r", "map", "mrr"]
    else:
        if k == "max_bin_count":
            k = max(np.bincount(s.gl)) - int(s.own)
        names = ["precision@1", f"precision@min({k},r)", f"map@min({k},r):r", f"map@{k}:r", f"mrr@{k}"]
    keys = ["precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_average_precision", "mean_reciprocal_rank"]
    return names, [got[key] for key in keys]


def with_torchmetrics(s):
    """[measures, queries]; its classes average these."""
    # Scores above 0: torchmetrics takes no item for relevant that has a score of 0 or less.
    scores = torch.arange(s.order.shape[1], 0, -1).float()
    made = {}
    for k in KS:
        made[f"recall@{k}"] = lambda t, k=k: tm.retrieval_hit_rate(scores, t, top_k=k)
        made[f"precision@{k}"] = lambda t, k=k: tm.retrieval_precision(scores, t, top_k=k)
        made[f"ir-recall@{k}"] = lambda t, k=k: tm.retrieval_recall(scores, t, top_k=k)
        made[f"map@{k}:hits"] = lambda t, k=k: tm.retrieval_average_precision(scores, t, top_k=k)
        made[f"mrr@{k}"] = lambda t, k=k: tm.retrieval_reciprocal_rank(scores, t, top_k=k)
        made[f"ndcg@{k}"] = lambda t, k=k: tm.retrieval_normalized_dcg(scores, t, top_k=k)
    made["r-precision"] = lambda t: tm.retrieval_r_precision(scores, t)
    made["map"] = lambda t: tm.retrieval_average_precision(scores, t)
    made["mrr"] = lambda t: tm.retrieval_reciprocal_rank(scores, t)
    made["ndcg"] = lambda t: tm.retrieval_normalized_dcg(scores, t)
    values = [[float(measure(torch.tensor(row).long())) for row in s.right] for measure in made.values()]
    check_torchmetrics_classes(s, scores, dict(zip(made, values)))
    return list(made), values


def check_torchmetrics_classes(s, scores, values):
    n, m = s.right.shape
    given = scores.repeat(n), torch.tensor(s.right).long().flatten(), torch.arange(n).repeat_interleave(m)
    for name, metric in [
        ("map", torchmetrics.retrieval.RetrievalMAP()),
        ("mrr", torchmetrics.retrieval.RetrievalMRR()),
        ("recall@2", torchmetrics.retrieval.RetrievalHitRate(top_k=2)),
        ("ndcg@3", torchmetrics.retrieval.RetrievalNormalizedDCG(top_k=3)),
        ("r-precision", torchmetrics.retrieval.RetrievalRPrecision()),
    ]:
        np.testing.assert_allclose(float(metric(*given)), np.mean(values[name]), rtol=1e-6)


def with_sklearn(s):
    """[1, queries that have an answer]; scores without ties."""
    scores = np.arange(s.order.shape[1], 0, -1)
    return ["map"], [[average_precision_score(row, scores) for row in s.right if row.any()]]


# In numpy -------------------------------------------------------------------------------------------------------------


def precisions(row):
    """P(i)·rel(i)."""
    return np.cumsum(row) / np.arange(1, len(row) + 1) * row


def oml(s):
    """Values [measures, queries]; a lone query has 0. k is cut at the gallery's size."""
    names, values = [], []
    for k in KS:
        cut = [row[:k] for row in s.right]
        names += [f"recall@{k}", f"precision@{k}:min", f"map@{k}:hits"]
        values.append([float(row.any()) for row in cut])
        values.append([row.sum() / max(min(r, len(row)), 1) for row, r in zip(cut, s.relevant)])
        values.append([precisions(row).sum() / max(row.sum(), 1) for row in cut])
    check_oml(s, values)
    return names, values


def check_oml(s, values):
    try:
        from oml.functional.metrics import calc_retrieval_metrics
    except ImportError:
        return
    relevant = [torch.tensor(np.flatnonzero(s.gl == label)) for label in s.ql]
    if s.own:
        relevant = [ids[ids != q] for q, ids in enumerate(relevant)]
    got = calc_retrieval_metrics(
        [torch.tensor(row) for row in s.order], relevant, None, KS, KS, KS, reduce=False, verbose=False
    )
    answered = s.relevant > 0
    for i, k in enumerate(KS):
        for j, name in enumerate(["cmc", "precision", "map"]):
            want = np.asarray(values[3 * i + j])[answered]
            np.testing.assert_allclose(got[name][k].numpy()[answered], want, rtol=1e-6)
    print("open-metric-learning agrees")


def sentence_transformers(s):
    """[measures, queries that have an answer]."""
    names, values = [], []
    rows = [(row, r) for row, r in zip(s.right, s.relevant) if r]
    discount = 1 / np.log2(np.arange(2, s.right.shape[1] + 2))
    for k in KS:
        names += [f"recall@{k}", f"precision@{k}", f"ir-recall@{k}", f"mrr@{k}", f"ndcg@{k}", f"map@{k}:min"]
        values.append([float(row[:k].any()) for row, _ in rows])
        values.append([row[:k].sum() / k for row, _ in rows])
        values.append([row[:k].sum() / r for row, r in rows])
        values.append([(row[:k] / np.arange(1, len(row[:k]) + 1)).max() for row, _ in rows])
        values.append([(row[:k] * discount[:k]).sum() / discount[: min(k, r)].sum() for row, r in rows])
        values.append([precisions(row[:k]).sum() / min(k, r) for row, r in rows])
    check_sentence_transformers(s, values)
    return names, values


def check_sentence_transformers(s, values):
    try:
        from sentence_transformers.sentence_transformer.evaluation import information_retrieval
    except ImportError:
        return
    kind = information_retrieval.InformationRetrievalEvaluator
    ids = [f"{i:06}" for i in range(len(s.gl))]
    answered = np.flatnonzero(s.relevant)
    relevant = {str(q): {ids[s.order[q, i]] for i in np.flatnonzero(s.right[q])} for q in answered}
    run = kind(
        {str(q): "" for q in answered}, dict.fromkeys(ids, ""), relevant,
        mrr_at_k=KS, ndcg_at_k=KS, accuracy_at_k=KS, precision_recall_at_k=KS, map_at_k=KS,
    )
    hits = [[{"corpus_id": ids[j], "score": -float(i)} for i, j in enumerate(s.order[q])] for q in answered]
    got = run.compute_metrics(hits)
    keys = ["accuracy@k", "precision@k", "recall@k", "mrr@k", "ndcg@k", "map@k"]
    flat = [got[key][k] for k in KS for key in keys]
    np.testing.assert_allclose(flat, np.mean(values, axis=1), rtol=1e-12)
    print("sentence-transformers agrees")


def tfs(s):
    """Values [measures, queries] with `r` given, the class counts of the index; a lone query has 0."""
    names, values = [], []
    over = np.maximum(s.relevant, 1)
    for k in KS:
        cut = [row[:k] for row in s.right]
        names += [f"recall@{k}", f"precision@{k}", f"map@{k}:r", f"ndcg@{k}:found"]
        values.append([float(row.any()) for row in cut])
        values.append([row.sum() / k for row in cut])
        values.append([precisions(row).sum() / r for row, r in zip(cut, over)])
        discount = 1 / np.log2(np.arange(2, k + 2))
        values.append([(row * discount[: len(row)]).sum() / max(discount[: row.sum()].sum(), 1e-9) for row in cut])
    names += ["r-precision", "map@r"]
    values.append([row[:r].sum() / max(r, 1) for row, r in zip(s.right, s.relevant)])
    values.append([precisions(row[:r]).sum() / max(r, 1) for row, r in zip(s.right, s.relevant)])
    return names, values


def roth(s):
    """Values [measures, queries], of one set: the class size counts the query, which is looked for and found first."""
    sizes = [np.sum(s.gl == label) for label in s.ql]
    names = [f"recall@{k}" for k in KS] + ["map@1000:r+1", "map@1023:r+1", "map@r+1"]
    values = [[float(row[:k].any()) for row in s.right] for k in KS]
    values += [[precisions(row[:limit]).sum() / size for row, size in zip(s.right, sizes)] for limit in (1000, 1023)]
    values.append([precisions(row[:size]).sum() / size for row, size in zip(s.right, sizes)])
    return names, values


# Cases ----------------------------------------------------------------------------------------------------------------


def expected(name, s):
    """Source -> (names, policy, tensors)."""
    def values(given, lone, beyond="miss"):
        names, values = given
        return names, {"lone": lone, "beyond": beyond}, {"values": np.asarray(values, dtype=np.float64)}

    found = {}
    for k in [None, "max_bin_count", 2]:
        names, micro = pml(s, k, False)
        means = {"micro": np.asarray(micro), "macro": np.asarray(pml(s, k, True)[1])}
        found[f"pml_k_{k}"] = (names, {"lone": "drop", "beyond": "refuse"}, means)
    found["torchmetrics"] = values(with_torchmetrics(s), "zero")
    found["sklearn"] = values(with_sklearn(s), "drop")
    found["oml"] = values(oml(s), "zero", "clip")
    found["sentence_transformers"] = values(sentence_transformers(s), "drop")
    found["tfs"] = values(tfs(s), "zero")
    if s.own:
        found["roth"] = values(roth(s), "zero", "clip")
    return found


def graded():
    """nDCG of scikit-learn and torchmetrics: embeddings and a matrix of grades."""
    random = np.random.default_rng(22)
    q, g = random.normal(size=(9, 3)).astype(np.float32), random.normal(size=(20, 3)).astype(np.float32)
    grades = random.integers(0, 4, size=(9, 20)) * (random.random((9, 20)) < 0.5)
    scores = q.astype(np.float64) @ g.T.astype(np.float64)
    names, values = [], []
    for k in [1, 3, 10, None]:
        at = "" if k is None else f"@{k}"
        names += [f"ndcg{at}", f"ndcg{at}:exp"]
        values.append([ndcg_score([row], [score], k=k) for row, score in zip(grades, scores)])
        values.append([ndcg_score([2.0**row - 1], [score], k=k) for row, score in zip(grades, scores)])
        of_torch = [
            float(tm.retrieval_normalized_dcg(torch.tensor(score), torch.tensor(row), top_k=k))
            for row, score in zip(grades, scores)
        ]
        np.testing.assert_allclose(of_torch, values[-2], rtol=1e-5)
    description = {"metric": "dot", "expected": {"sklearn": {"measures": names, "lone": "zero", "beyond": "miss"}}}
    tensors = {"queries": q, "gallery": g, "grades": grades.astype(np.float32), "sklearn_values": np.asarray(values)}
    return description, tensors


def cameras():
    """CMC and mAP of Market-1501's evaluation, in numpy: same identity and camera is junk; queries left without a match
    do not count."""
    random = np.random.default_rng(23)
    ql, gl = random.integers(0, 5, 12), random.integers(0, 6, 40)
    qc, gc = random.integers(0, 3, 12), random.integers(0, 3, 40)
    q = (random.normal(size=(12, 3)) + ql[:, None]).astype(np.float32)
    g = (random.normal(size=(40, 3)) + gl[:, None]).astype(np.float32)
    rows = []
    for i, order in enumerate(np.argsort(-cross("euclidean", q.astype(np.float64), g.astype(np.float64)), axis=1)):
        keep = ~((gl[order] == ql[i]) & (gc[order] == qc[i]))
        row = gl[order][keep] == ql[i]
        if row.any():
            rows.append(row)
    names = ["recall@1", "recall@5", "recall@10", "map"]
    values = [[float(row[:k].any()) for row in rows] for k in (1, 5, 10)]
    values.append([precisions(row).sum() / row.sum() for row in rows])
    description = {"metric": "euclidean", "expected": {"market": {"measures": names, "lone": "drop", "beyond": "refuse"}}}
    u32 = {"query_labels": ql, "gallery_labels": gl, "query_cameras": qc, "gallery_cameras": gc}
    tensors = {"queries": q, "gallery": g, "market_values": np.asarray(values)}
    return description, tensors | {name: array.astype(np.uint32) for name, array in u32.items()}


def main():
    cases = {"graded": graded(), "cameras": cameras()}
    for name, s in all_sets().items():
        tensors, sources = s.tensors(), {}
        for source, (names, policy, arrays) in expected(name, s).items():
            sources[source] = {"measures": names} | policy
            tensors |= {f"{source}_{kind}": array.astype(np.float64) for kind, array in arrays.items()}
        description = {"metric": s.metric, "expected": sources, "torchmetrics": torchmetrics.__version__}
        cases[name] = (description, tensors)
    save("eval/retrieval.safetensors", cases)


if __name__ == "__main__":
    main()
