"""What is asked of a network, and what of the answer is kept."""

from dataclasses import dataclass, field, replace
from math import gcd

import numpy as np
import torch

import formula

# Of a larger embedding not every element is kept.
KEPT = 512
# Ways to nearly the same in float32: memory layout, whether oneDNN computes, and the seed by which the input is rounded.
SINGLES = (
    (torch.contiguous_format, True, None),
    (torch.contiguous_format, False, None),
    (torch.channels_last, True, None),
    (torch.contiguous_format, True, 1),
    (torch.contiguous_format, True, 2),
)
# A gradient so many times smaller than the largest is 0 but for rounding.
NOUGHT = 1e-9


@dataclass
class Run:
    """`embed(network, *inputs)` is the embedding; floating inputs get a gradient."""

    inputs: list
    embed: callable = lambda network, x: network(x)
    train: bool = False
    # Biases are so much higher: inputs of ReLUs are farther from the kink.
    raised: float = 0.0
    told: dict = field(default_factory=dict)


@dataclass
class Case:
    """A network and what is done with it; `constants` are the tensors that no formula makes.

    `spread` is such that signals neither fade nor grow much on their way: an embedding that is all biases shows nothing.
    """

    network: callable
    config: dict
    runs: dict
    constants: dict = field(default_factory=dict)
    spread: float = 3.0


def images(n, side):
    return [torch.from_numpy(formula.uniform("input", (n, 3, side, side)))]


def both(side=64, trained=4, raised=None):
    """Of `trained` images in training; once more with raised biases, if they are given."""
    runs = {"eval": Run(images(2, side)), "train": Run(images(trained, side), train=True)}
    return runs if raised is None else runs | {"train_raised": replace(runs["train"], raised=raised)}


def tensors(network, constants):
    """Name, shape and kind, in the order of the state. The count of batches is no part of it."""
    rows = []
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        shape = list(value.shape)
        rows.append((name, shape, constants[name] if name in constants else formula.kind_of(name, shape)))
    return rows


def fill(network, rows, spread, raised):
    state = network.state_dict()
    for name, shape, kind in rows:
        state[name].copy_(torch.from_numpy(formula.tensor(name, shape, kind, spread, raised)))


def answer(network, run):
    """The embedding, the loss, and gradients by name, that of the input as `input`."""
    dtype = next(network.parameters()).dtype
    inputs = [x.clone().to(dtype).requires_grad_() if x.is_floating_point() else x for x in run.inputs]
    network.train(run.train)
    network.zero_grad()
    embedding = run.embed(network, *inputs)
    probe = torch.from_numpy(formula.uniform("probe", tuple(embedding.shape))).to(dtype)
    loss = (embedding * probe).sum()
    loss.backward()
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
    }
    gradients |= {"input": x.grad for x in inputs if x.is_floating_point()}
    gradients = {name: gradient.double().numpy().copy() for name, gradient in gradients.items()}
    return embedding.detach().double().numpy(), loss.item(), gradients


def digits(value):
    return float(f"{value:.9g}")


def some(array):
    """Of a large embedding every so manyth element, row after row: of all columns, because no factor is shared."""
    every = max(1, -(-array.size // KEPT))
    while gcd(every, array.shape[1]) > 1:
        every += 1
    values = [digits(value) for value in array.ravel()[::every]]
    return {"shape": list(array.shape), "every": every, "values": values, "norm": digits(np.linalg.norm(array))}


def sketch(name, gradient, largest):
    """Norm, and the product with a vector of the formula."""
    norm = np.linalg.norm(gradient)
    if norm <= NOUGHT * largest:
        return [0.0, 0.0]
    return [digits(norm), digits((gradient * formula.uniform(f"dot:{name}", gradient.shape)).sum())]


def shaken(x, seed):
    """With another rounding of floating elements."""
    if seed is None or not x.is_floating_point():
        return x
    noise = torch.from_numpy(np.random.default_rng(seed).normal(size=tuple(x.shape)))
    return (x.double() * (1 + 1e-7 * noise)).to(x.dtype)


def rounding(case, network, rows, run, exact):
    """How far float32 is off, at most: in the embedding against its largest element, in a gradient against its norm."""
    embedding, gradients = exact
    off = {"embedding": 0.0, "gradients": 0.0}
    for layout, onednn, seed in SINGLES:
        network.float().to(memory_format=layout)
        fill(network, rows, case.spread, run.raised)
        with torch.backends.mkldnn.flags(enabled=onednn):
            single, _, others = answer(network, replace(run, inputs=[shaken(x, seed) for x in run.inputs]))
        off["embedding"] = max(off["embedding"], np.abs(embedding - single).max() / np.abs(embedding).max())
        for name, gradient in gradients.items():
            apart = np.linalg.norm(gradient - others[name]) / np.linalg.norm(gradient)
            off["gradients"] = max(off["gradients"], apart)
    network.to(memory_format=torch.contiguous_format)
    return {of: float(f"{value:.1g}") for of, value in off.items()}


def record(case):
    """What is kept of a case."""
    network = case.network()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    rows = tensors(network, case.constants)
    runs = {title: kept_of(case, network, rows, run) for title, run in case.runs.items()}
    return {"config": case.config | {"spread": case.spread} | norms(network), "tensors": rows, "runs": runs}


def kept_of(case, network, rows, run):
    network.double()
    fill(network, rows, case.spread, run.raised)
    embedding, loss, gradients = answer(network, run)
    kept = {"train": run.train, "input": list(run.inputs[0].shape)} | run.told
    if run.raised:
        kept["raised"] = run.raised
    kept |= {"embedding": some(embedding), "loss": digits(loss)}
    largest = max(np.linalg.norm(gradient) for gradient in gradients.values())
    sketches = {name: sketch(name, gradient, largest) for name, gradient in gradients.items()}
    if "input" in sketches:
        kept["input_gradient"] = sketches["input"]
    kept["gradients"] = [sketches.get(name) for name, _, _ in rows]
    if run.train:
        state = network.state_dict()
        running = [name for name, _, kind in rows if kind in ("mean", "variance")]
        kept["running"] = {
            name: [digits(state[name].sum()), digits(state[name].norm())] for name in running[:2] + running[-2:]
        }
    apart = np.linalg.norm(embedding - embedding.mean(0)) / np.linalg.norm(embedding)
    gradients = {name: gradient for name, gradient in gradients.items() if sketches[name][0] > 0}
    kept["float32"] = rounding(case, network, rows, run, (embedding, gradients))
    kept["rows_apart"] = float(f"{apart:.1g}")
    return kept


def norms(network):
    """How the network normalises, by kind of module."""
    found = {}
    for module in network.modules():
        if hasattr(module, "eps"):
            told = {"eps": module.eps} | ({"momentum": module.momentum} if hasattr(module, "momentum") else {})
            kind = type(module).__name__
            if found.setdefault(kind, told) != told:
                raise ValueError(f"{kind} with {told} and {found[kind]}")
    return {"norms": found} if found else {}
