"""The parameter sets: loss -> case -> parameters. `default` has those of the registry."""


def sets(default, **others):
    """`default`, and the cases that differ from it in the keys given."""
    return {"default": default} | {name: default | changes for name, changes in others.items()}


PAIRS = {
    "angle": sets({"scale": 20.0}, mild={"scale": 4.0}, hard={"scale": 50.0}),
    "angular": sets(
        {"alpha": 40.0, "normalize": True},
        narrow={"alpha": 25.0},
        wide={"alpha": 55.0},
        raw={"alpha": 30.0, "normalize": False},
    ),
    "centroid_triplet": sets(
        {"margin": 0.05, "soft": False, "metric": "euclidean", "normalize": True},
        wide_cosine={"margin": 0.4, "metric": "cosine"},
        soft={"margin": 0.2, "soft": True},
        raw_squared={"margin": 1.0, "metric": "squared_euclidean", "normalize": False},
    ),
    "circle": sets({"m": 0.4, "gamma": 80.0}, face={"m": 0.25, "gamma": 256.0}, mild={"m": 0.3, "gamma": 4.0}),
    "clip": sets(
        {"temperature": 0.07, "learn_temperature": False},
        learned={"learn_temperature": True},
        warm={"temperature": 0.5, "learn_temperature": True},
    ),
    "contrastive": sets(
        {"metric": "euclidean", "pos_margin": 0.0, "neg_margin": 1.0, "normalize": True, "power": 1},
        margins_on_raw_vectors={"pos_margin": 0.2, "neg_margin": 1.5, "normalize": False},
        # Not pos_margin 1: whether 1 − cos of two equal rows is exactly 0 is a matter of rounding, and it is counted.
        cosine={"metric": "cosine", "pos_margin": 0.9, "neg_margin": 0.3},
        hadsell={"pos_margin": 0.1, "neg_margin": 1.3, "power": 2},
        lp={"metric": "lp:3", "neg_margin": 4.0, "normalize": False},
    ),
    "cosent": sets({"scale": 20.0}, mild={"scale": 4.0}, hard={"scale": 50.0}),
    "dynamic_soft_margin": sets(
        {"min_val": -2.0, "num_bins": 10, "momentum": 0.01, "normalize": True},
        fine={"num_bins": 30, "momentum": 0.3},
        raw={"min_val": -8.0, "num_bins": 12, "normalize": False},
    ),
    "generalized_lifted_structure": sets(
        {"neg_margin": 1.0, "pos_margin": 0.0, "metric": "euclidean", "normalize": True},
        cosine={"neg_margin": 0.2, "pos_margin": 0.8, "metric": "cosine"},
        raw={"neg_margin": 3.0, "pos_margin": 0.5, "normalize": False},
    ),
    "hyperbolic": sets(
        {"curvature": 0.1, "clip": 2.3, "temperature": 0.2},
        curved={"curvature": 0.5, "clip": 1.0, "temperature": 0.5},
        flat={"curvature": 0.01, "clip": 10.0, "temperature": 1.0},
    ),
    "instance": sets({"gamma": 64.0}, mild={"gamma": 8.0}, soft={"gamma": 1.0}),
    "intra_pair_variance": sets(
        {"pos_eps": 0.01, "neg_eps": 0.01},
        wide={"pos_eps": 0.3, "neg_eps": 0.2},
        none={"pos_eps": 0.0, "neg_eps": 0.0},
    ),
    "lifted_structure": sets(
        {"neg_margin": 1.0, "pos_margin": 0.0, "metric": "euclidean", "normalize": True},
        cosine={"neg_margin": 0.2, "pos_margin": 0.8, "metric": "cosine"},
        raw={"neg_margin": 3.0, "pos_margin": 0.5, "normalize": False},
    ),
    "manifold": sets(
        {"proxies": 50, "lambda": 1.0, "alpha": 0.8, "margin": 5e-4},
        few={"proxies": 4, "lambda": 0.5, "alpha": 0.5, "margin": 0.05},
        intrinsic={"proxies": 6, "lambda": 0.0, "alpha": 0.9, "margin": 0.02},
    ),
    "margin": sets(
        {
            "margin": 0.2,
            "beta": 1.2,
            "learn_beta": False,
            "per_class": False,
            "nu": 0.0,
            "metric": "euclidean",
            "normalize": True,
        },
        learned={"learn_beta": True, "nu": 0.1},
        per_class={"learn_beta": True, "per_class": True, "nu": 0.1, "margin": 0.3},
        cosine={"metric": "cosine", "beta": 0.4, "margin": 0.1},
    ),
    "mega_batch_margin": sets(
        {"positive_margin": 0.8, "negative_margin": 0.3, "hard": True},
        low={"positive_margin": 0.95, "negative_margin": -0.2},
        all={"negative_margin": 0.1, "hard": False},
    ),
    "multi_similarity": sets(
        {"alpha": 2.0, "beta": 50.0, "base": 0.5, "epsilon": None},
        mined={"beta": 40.0, "epsilon": 0.1},
        mined_softly={"alpha": 1.0, "beta": 10.0, "base": 0.7, "epsilon": 0.4},
        paper={"base": 1.0, "epsilon": 0.1},
    ),
    "n_pairs": sets(
        {"normalize": True, "scale": 1.0, "l2": 0.0},
        raw={"normalize": False},
        raw_with_l2={"normalize": False, "l2": 0.005},
        cold={"scale": 16.0},
    ),
    "nca": sets(
        {"softmax_scale": 1.0, "metric": "squared_euclidean", "normalize": True},
        sharp={"softmax_scale": 8.0},
        cosine={"softmax_scale": 10.0, "metric": "cosine"},
        raw={"softmax_scale": 0.25, "normalize": False},
    ),
    "nt_xent": sets(
        {"temperature": 0.07, "metric": "cosine", "normalize": True},
        warm={"temperature": 0.5},
        euclidean={"temperature": 0.3, "metric": "euclidean"},
        raw_dot={"temperature": 4.0, "metric": "dot", "normalize": False},
    ),
    "quadruplet": sets(
        {"margin": 1.0, "margin2": 0.5, "metric": "squared_euclidean", "normalize": True},
        euclidean={"margin": 0.3, "margin2": 0.1, "metric": "euclidean"},
        cosine={"margin": 0.4, "margin2": 0.2, "metric": "cosine"},
        raw={"margin": 2.0, "margin2": 1.0, "normalize": False},
    ),
    "snr_contrastive": sets(
        {"pos_margin": 0.0, "neg_margin": 1.0, "normalize": True},
        wide={"pos_margin": 0.3, "neg_margin": 2.0},
        raw={"pos_margin": 0.1, "neg_margin": 1.5, "normalize": False},
    ),
    "soft_nn": sets(
        {"temperature": 1.0, "metric": "squared_euclidean", "normalize": True},
        cold={"temperature": 0.2},
        cosine={"temperature": 0.1, "metric": "cosine"},
        raw={"temperature": 5.0, "normalize": False},
    ),
    "sup_con": sets({"temperature": 0.1}, warm={"temperature": 0.5}, hot={"temperature": 2.0}),
    "threshold_consistent_margin": sets(
        {"lambda_plus": 1.0, "lambda_minus": 1.0, "margin_plus": 0.9, "margin_minus": 0.5},
        uneven={"lambda_plus": 0.5, "lambda_minus": 2.0, "margin_minus": 0.1},
        low={"margin_plus": 0.6, "margin_minus": -0.3},
    ),
    "triplet": sets(
        {"margin": 0.05, "mining": "all", "soft": False, "swap": False, "metric": "euclidean", "normalize": True},
        all_squared={"margin": 0.25, "metric": "squared_euclidean"},
        all_cosine={"margin": 0.2, "metric": "cosine"},
        all_soft={"margin": 0.3, "soft": True},
        swap={"margin": 0.3, "swap": True},
        swap_cosine={"margin": 0.2, "swap": True, "metric": "cosine"},
        hard={"margin": 0.3, "mining": "hard"},
        easy_soft={"margin": 0.1, "mining": "easy", "soft": True},
        semi_hard={"margin": 0.3, "mining": "semi_hard"},
        semi_hard_dot={"margin": 1.5, "mining": "semi_hard", "metric": "dot", "normalize": False},
        batch_hard={"margin": 0.3, "mining": "batch_hard"},
        batch_hard_soft={"margin": 0.1, "mining": "batch_hard", "soft": True, "normalize": False},
        batch_hard_soft_cosine={"margin": 0.1, "mining": "batch_hard", "soft": True, "metric": "cosine"},
    ),
    "tuplet_margin": sets(
        {"margin": 5.73, "scale": 64.0}, mild={"margin": 20.0, "scale": 4.0}, none={"margin": 0.0, "scale": 16.0}
    ),
    "vic_reg": sets(
        {"invariance": 25.0, "variance": 25.0, "covariance": 1.0, "eps": 1e-4},
        even={"invariance": 1.0, "variance": 1.0},
        no_invariance={"invariance": 0.0, "variance": 4.0, "covariance": 2.0, "eps": 0.01},
    ),
}

RANKING = {
    "fast_ap": sets(
        {"num_bins": 10, "normalize": True}, fine={"num_bins": 25}, coarse={"num_bins": 4}, raw={"normalize": False}
    ),
    "histogram": sets({"num_bins": 100}, coarse={"num_bins": 7}, middle={"num_bins": 20}),
    "pnp": sets(
        {"b": 2.0, "alpha": 1.0, "anneal": 0.01, "variant": "o"},
        ds={"variant": "ds", "anneal": 0.1},
        dq={"variant": "dq", "alpha": 4.0, "anneal": 0.1},
        iu={"variant": "iu", "anneal": 0.05},
        ib={"variant": "ib", "b": 3.0, "anneal": 0.05},
    ),
    "ranked_list": sets(
        {"margin": 0.4, "tn": 10.0, "imbalance": 0.5, "alpha": None, "tp": 0.0},
        weighted={"tn": 2.0, "tp": 3.0, "imbalance": 0.3},
        wide={"margin": 0.8, "alpha": 1.4, "tn": 1.0},
    ),
    "recall_at_k": sets(
        {"ks": [1, 2, 4, 8, 16], "temperature": 1.0, "anneal": 0.01},
        smooth={"anneal": 0.1, "temperature": 0.5},
        few={"ks": [1, 3], "anneal": 0.3},
    ),
    "roadmap": sets(
        {
            "tau": 0.01,
            "rho": 100.0,
            "delta": 0.05,
            "offset": 1.44,
            "pos_margin": 0.9,
            "neg_margin": 0.6,
            "lambda": 0.5,
        },
        smooth={"tau": 0.1, "rho": 10.0, "delta": 0.3, "lambda": 0.2},
        ranks_only={"tau": 0.2, "rho": 2.0, "delta": 0.1, "offset": 1.0, "lambda": 0.0},
    ),
    "smooth_ap": sets(
        {"temperature": 0.01, "include_self": False},
        smooth={"temperature": 0.1},
        as_the_code={"include_self": True, "temperature": 0.1},
    ),
}

PROXY = {
    "ada_face": sets(
        {"margin": 0.4, "h": 0.333, "scale": 64.0, "momentum": 0.01},
        of_the_batch={"momentum": 1.0, "scale": 16.0},
        wide={"margin": 0.6, "h": 1.0, "scale": 8.0, "momentum": 0.9},
    ),
    "arc_face": sets(
        {"margin": 28.6, "scale": 64.0, "sample_rate": 1.0},
        mild={"margin": 20.0, "scale": 16.0},
        # θ > π − m for most targets: the straight part of the margin.
        past_the_fold={"margin": 80.0, "scale": 4.0},
    ),
    "cos_face": sets(
        {"margin": 0.35, "scale": 64.0, "sample_rate": 1.0},
        mild={"margin": 0.2, "scale": 8.0},
        insightface={"margin": 0.4},
    ),
    "large_margin_softmax": sets({"margin": 4, "scale": 1.0}, two={"margin": 2}, three={"margin": 3, "scale": 4.0}),
    "normalized_softmax": sets(
        {"temperature": 0.05, "sample_rate": 1.0}, warm={"temperature": 0.25}, hot={"temperature": 1.0}
    ),
    "p2s_grad": sets({}),
    "proxy_anchor": sets(
        {"margin": 0.1, "alpha": 32.0}, wide={"margin": 0.3, "alpha": 8.0}, no_margin={"margin": 0.0, "alpha": 16.0}
    ),
    "proxy_nca": sets(
        {"softmax_scale": 1.0, "positive_in_denominator": True},
        paper={"positive_in_denominator": False},
        plus_plus={"softmax_scale": 9.0},
        soft={"softmax_scale": 0.5},
    ),
    "soft_triple": sets(
        {"centers_per_class": 10, "la": 20.0, "gamma": 0.1, "margin": 0.01, "tau": 0.0},
        paper={"centers_per_class": 3, "tau": 0.2},
        mild={"centers_per_class": 2, "la": 8.0, "gamma": 0.5, "margin": 0.1},
    ),
    "sphere_face": sets({"margin": 4, "scale": 1.0}, two={"margin": 2}, three={"margin": 3, "scale": 4.0}),
    "sub_center_arc_face": sets(
        {"margin": 28.6, "scale": 64.0, "sub_centers": 3},
        mild={"margin": 20.0, "scale": 16.0, "sub_centers": 2},
        past_the_fold={"margin": 80.0, "scale": 4.0},
    ),
}

FEW_SHOT = {
    "matching": sets(
        {"n_support": 1, "scale": 1.0, "metric": "cosine"},
        two_shots={"n_support": 2, "scale": 10.0},
        squared_euclidean={"n_support": 2, "scale": 0.25, "metric": "squared_euclidean"},
    ),
    "prototypical": sets(
        {"n_support": 1, "scale": 1.0, "metric": "squared_euclidean"},
        two_shots={"n_support": 2, "scale": 0.25},
        cosine={"scale": 10.0, "metric": "cosine"},
    ),
}

LOSSES = PAIRS | RANKING | PROXY | FEW_SHOT
