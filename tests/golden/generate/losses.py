#!/usr/bin/env python3
"""Makes `losses/*.safetensors`: what the losses of the registry are worth, and their gradients. See README.md.

Inputs are float32 numbers; everything is computed from them in float64. The same versions give the same bytes.
"""

import sys

import numpy as np
import torch

import patches
from batches import HEAD, LARGE, all_batches, classes_of, proxies_for
from golden_file import save
from parameters import LOSSES
from references import NAMES, reference
from references.base import GRADES
from rounding import ROUNDINGS, shaken


def learned_inputs(loss, params, batch):
    """Our names of the learned parameters -> values to start from, and which of them are not with the batches."""
    inputs, own = {}, set()
    for name in loss.learned:
        if name == "proxies" and loss.rows is None and loss.centers == 1:
            inputs[name] = batch.extra["proxies"]
            continue
        own.add(name)
        if name == "proxies":
            rows, centers = (loss.rows, 1) if loss.rows else (batch.classes, loss.centers)
            inputs[name] = proxies_for(rows, batch.embeddings.shape[1], centers)
        elif name == "beta":
            count = batch.classes if params["per_class"] else 1
            inputs[name] = np.linspace(params["beta"], params["beta"] + 0.1 * (count - 1), count).astype(np.float32)
        elif name == "logit_scale":
            inputs[name] = np.array([-np.log(params["temperature"])], dtype=np.float32)
        else:
            raise KeyError(name)
    return inputs, own


def stored(name, gradient):
    """A gradient, or of a large one its first rows and its norm."""
    if len(gradient) < LARGE and gradient.size < 2048:
        return {name: gradient}
    return {f"{name}_head": gradient[:HEAD], f"{name}_norm": np.linalg.norm(gradient)}


def evaluate(name, params, batch):
    """(tensors, None), or ({}, why there are none)."""
    outputs, reason = evaluate_in(torch.float64, name, params, batch)
    if reason:
        return {}, reason
    for seed in range(ROUNDINGS):
        rounded, _ = evaluate_in(torch.float32, name, params, shaken(batch, seed))
        for output in outputs:
            if output == "value" or "gradient" in output:
                allowed = 1e-5 + 3e-4 * np.abs(outputs[output]).max()
                if not rounded or not np.abs(outputs[output] - rounded[output]).max() <= allowed:
                    return {}, f"rounding decides the {output.replace('_', ' ')}"
    return outputs, None


def evaluate_in(dtype, name, params, batch):
    double = lambda array, leaf=False: torch.tensor(array, dtype=dtype, requires_grad=leaf)
    loss = reference(name, params, batch.embeddings.shape[1], batch.classes if batch.kind != "huge_labels" else 0)
    x, labels = double(batch.embeddings, leaf=True), classes_of(batch.labels)
    reason = loss.undefined(x, labels)
    if reason:
        return {}, reason
    inputs, own = learned_inputs(loss, params, batch)
    for learned, value in inputs.items():
        loss.learned[learned].set(double(value))
    outputs = {learned: inputs[learned] for learned in sorted(own)}
    if name == "manifold":
        outputs["meta_classes"] = loss.meta_classes(len(x)).numpy().astype(np.uint32)
    refs = None
    try:
        if batch.kind == GRADES:
            value = loss(x, labels, grades=double(batch.extra["grades"]))
        elif "ref_embeddings" in batch.extra:
            refs = double(batch.extra["ref_embeddings"], leaf=True)
            value = loss(x, labels, None, refs, classes_of(batch.extra["ref_labels"]))
        else:
            value = loss(x, labels, batch.tuples())
        value.sum().backward()
    except (AssertionError, IndexError, RuntimeError) as error:
        return {}, f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
    gradients = {"gradient": x.grad} | {f"{learned}_gradient": loss.learned[learned].gradient for learned in inputs}
    if refs is not None:
        gradients["references_gradient"] = refs.grad
    outputs["value"] = np.float64(value.item())
    for output, gradient in gradients.items():
        outputs |= stored(output, gradient.numpy())
    if not all(np.isfinite(array).all() for array in outputs.values()):
        return {}, "not finite"
    return outputs, None


def cases(name, batches):
    for case, params in LOSSES[name].items():
        outputs, undefined = {}, {}
        kinds = reference(name, params, 4, 4).kinds
        for batch_name, batch in batches.items():
            if batch.kind not in kinds:
                continue
            # Proxies of several centres for a large batch would be most of the file.
            if len(batch.labels) >= LARGE and params.get("centers_per_class", 1) > 3:
                continue
            tensors, reason = evaluate(name, params, batch)
            outputs |= {f"{batch_name}/{output}": array for output, array in tensors.items()}
            if reason:
                undefined[batch_name] = reason
                print(f"  {name} ({case}) on {batch_name}: {reason}")
        yield case, ({"params": params, "undefined": undefined}, outputs)


def main(names):
    patches.apply()
    torch.manual_seed(0)
    batches = all_batches()
    inputs = {name: ({"is": batch.what, "kind": batch.kind}, batch.tensors()) for name, batch in batches.items()}
    assert set(NAMES) == set(LOSSES), set(NAMES) ^ set(LOSSES)
    save("losses/batches.safetensors", inputs)
    for name in names or NAMES:
        save(f"losses/{name}.safetensors", dict(cases(name, batches)))


if __name__ == "__main__":
    main(sys.argv[1:])
