"""Weights and inputs by a formula that Rust computes to the same bits: those of networks are too many to keep.

Every tensor is a function of its name, its shape and its kind; see README.md.
"""

import numpy as np

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def fnv1a64(name):
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    return np.uint64(state)


def bits(name, count):
    """24 random bits for each of `count` elements."""
    # The last term is splitmix64's own first step. All wraps around.
    x = fnv1a64(name) + np.arange(count, dtype=np.uint64) * GOLDEN_RATIO + GOLDEN_RATIO
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(40)


def uniform(name, shape):
    """In [-1, 1), exact in float32."""
    values = bits(name, int(np.prod(shape))).astype(np.float32) / np.float32(2**23) - np.float32(1)
    return values.reshape(shape)


def whole(name, shape, below):
    return (bits(name, int(np.prod(shape))) % np.uint64(below)).astype(np.int64).reshape(shape)


EMBEDDINGS = (
    *("class_embedding", "class_token", "cls_token", "mask_token", "reg_token", "register_tokens"),
    *("pos_embed", "pos_embedding", "position_embeddings", "positional_embedding"),
)


def kind_of(name, shape):
    """Which of `tensor`'s kinds a tensor of a network is."""
    last, *owner = name.split(".")[::-1]
    owner = owner[0] if owner else ""
    table = owner.endswith(("_embeddings", "position_embedding")) and last == "weight"
    if table or last in EMBEDDINGS:
        return "embedding"
    if len(shape) >= 2:
        return "weight"
    if last in ("running_mean", "running_var", "bias", "in_proj_bias"):
        return {"running_mean": "mean", "running_var": "variance"}.get(last, "bias")
    if owner == "prelu":
        return "slope"
    if last in ("weight", "gamma", "lambda1"):
        return "gain"
    raise ValueError(f"no kind for {name} {list(shape)}")


def tensor(name, shape, kind, spread=3.0, raised=0.0):
    """A tensor of `kind`, or with all its elements that number. Every operation is rounded to float32.

    Weights have a variance of `spread` / 3 over the number of inputs; biases have the mean `raised`.
    """
    if not isinstance(kind, str):
        return np.full(shape, kind, dtype=np.float32)
    u, f32 = uniform(name, shape), np.float32
    if kind == "weight":
        return u * f32(np.sqrt(spread / np.prod(shape[1:])))
    return {
        "embedding": lambda: f32(0.5) * u,
        "gain": lambda: f32(1) + f32(0.25) * u,
        "slope": lambda: f32(0.25) + f32(0.125) * u,
        "bias": lambda: f32(raised) + f32(0.1) * u,
        "mean": lambda: f32(0.1) * u,
        "variance": lambda: f32(1) + f32(0.5) * u,
    }[kind]()
