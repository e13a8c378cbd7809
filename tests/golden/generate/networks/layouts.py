"""Networks of images whose weights are laid out as in the files that their makers publish.

The tensors of a case are those of such a file. timm's `checkpoint_filter_fn`, transformers' `from_pretrained` or torchvision's
`load_state_dict` makes a vision transformer of them; timm scales the places of patches where the pictures are of another size.
Small networks are timm's own.
"""

import tempfile
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import checkpoint_filter_fn
from torchvision.models import VisionTransformer
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTModel,
)

import formula

from .case import Case, Run, images


class Laid(torch.nn.Module):
    """A file of tensors `shapes`; `opened(tensors)` is the network that it makes."""

    def __init__(self, shapes, opened, embed):
        super().__init__()
        self.opened, self.embed = opened, embed
        for name, shape in shapes.items():
            *owners, last = name.split(".")
            place = self
            for owner in owners:
                if owner not in place._modules:
                    place.add_module(owner, torch.nn.Module())
                place = place._modules[owner]
            place.register_parameter(last, torch.nn.Parameter(torch.zeros(shape), requires_grad=False))

    def forward(self, x):
        return self.embed(self.opened({name: value.clone() for name, value in self.state_dict().items()}, x.dtype), x)


def blocks(depth, prefix, dim, mlp, names):
    """Tensors of `depth` blocks; `names` has each norm, linear layer and scale with its shape."""
    shapes = {}
    for i in range(depth):
        for name, shape in names(dim, mlp).items():
            shapes[f"{prefix}{i}.{name}"] = shape
    return shapes


def layer(name, *shape):
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def dinov2(side, depth, registers=0, dim=384):
    """DINOv2's own: places of `side` x `side` patches of 14 x 14, and one of the class token."""
    block = lambda d, m: (
        layer("norm1", d) | layer("attn.qkv", 3 * d, d) | layer("attn.proj", d, d) | {"ls1.gamma": (d,)}
        | layer("norm2", d) | layer("mlp.fc1", m, d) | layer("mlp.fc2", d, m) | {"ls2.gamma": (d,)}
    )
    tokens = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + side * side, dim), "mask_token": (1, dim)}
    tokens |= {"register_tokens": (1, registers, dim)} if registers else {}
    patches = layer("patch_embed.proj", dim, 3, 14, 14)
    return tokens | patches | blocks(depth, "blocks.", dim, 4 * dim, block) | layer("norm", dim)


def dinov2_of_transformers(side, depth, registers, dim):
    """As transformers publishes DINOv2."""
    block = lambda d, m: (
        layer("norm1", d)
        | layer("attention.attention.query", d, d) | layer("attention.attention.key", d, d)
        | layer("attention.attention.value", d, d) | layer("attention.output.dense", d, d)
        | {"layer_scale1.lambda1": (d,)} | layer("norm2", d) | layer("mlp.fc1", m, d) | layer("mlp.fc2", d, m)
        | {"layer_scale2.lambda1": (d,)}
    )
    tokens = {
        "embeddings.cls_token": (1, 1, dim),
        "embeddings.mask_token": (1, dim),
        "embeddings.position_embeddings": (1, 1 + side * side, dim),
    }
    tokens |= {"embeddings.register_tokens": (1, registers, dim)} if registers else {}
    patches = layer("embeddings.patch_embeddings.projection", dim, 3, 14, 14)
    return tokens | patches | blocks(depth, "encoder.layer.", dim, 4 * dim, block) | layer("layernorm", dim)


def openai(side, patch, depth, dim, projection):
    """OpenAI's CLIP and open_clip's, with what else is in their files."""
    block = lambda d, m: (
        layer("ln_1", d) | {"attn.in_proj_weight": (3 * d, d), "attn.in_proj_bias": (3 * d,)} | layer("attn.out_proj", d, d)
        | layer("ln_2", d) | layer("mlp.c_fc", m, d) | layer("mlp.c_proj", d, m)
    )
    tokens = {
        "positional_embedding": (7, 8),
        "text_projection": (8, projection),
        "logit_scale": (),
        "visual.class_embedding": (dim,),
        "visual.positional_embedding": (1 + side * side, dim),
        "visual.proj": (dim, projection),
        "visual.conv1.weight": (dim, 3, patch, patch),
    }
    vision = layer("visual.ln_pre", dim) | blocks(depth, "visual.transformer.resblocks.", dim, 4 * dim, block)
    text = blocks(1, "transformer.resblocks.", 8, 32, block) | layer("ln_final", 8) | {"token_embedding.weight": (9, 8)}
    return tokens | vision | layer("visual.ln_post", dim) | text


def vit_of_transformers(side, patch, depth, dim):
    """As transformers publishes DINO and ViT."""
    block = lambda d, m: (
        layer("layernorm_before", d)
        | layer("attention.attention.query", d, d) | layer("attention.attention.key", d, d)
        | layer("attention.attention.value", d, d) | layer("attention.output.dense", d, d)
        | layer("layernorm_after", d) | layer("intermediate.dense", m, d) | layer("output.dense", d, m)
    )
    tokens = {"embeddings.cls_token": (1, 1, dim), "embeddings.position_embeddings": (1, 1 + side * side, dim)}
    patches = layer("embeddings.patch_embeddings.projection", dim, 3, patch, patch)
    last = layer("layernorm", dim) | layer("pooler.dense", dim, dim)
    return tokens | patches | blocks(depth, "encoder.layer.", dim, 4 * dim, block) | last


def vit_of_torchvision(side, patch, depth, dim):
    block = lambda d, m: (
        layer("ln_1", d) | {"self_attention.in_proj_weight": (3 * d, d), "self_attention.in_proj_bias": (3 * d,)}
        | layer("self_attention.out_proj", d, d) | layer("ln_2", d) | layer("mlp.0", m, d) | layer("mlp.3", d, m)
    )
    tokens = {"class_token": (1, 1, dim)} | layer("conv_proj", dim, 3, patch, patch)
    places = {"encoder.pos_embedding": (1, 1 + side * side, dim)}
    layers = blocks(depth, "encoder.layers.encoder_layer_", dim, 4 * dim, block)
    return tokens | places | layers | layer("encoder.ln", dim) | layer("heads.head", 5, dim)


def by_timm(name, **arguments):
    def opened(tensors, dtype):
        network = timm.create_model(name, **arguments).to(dtype).eval()
        network.load_state_dict(checkpoint_filter_fn(tensors, network))
        return network

    return opened


def by_transformers(model, config):
    def opened(tensors, dtype):
        with tempfile.TemporaryDirectory() as folder:
            config.save_pretrained(folder)
            save_file({name: value.contiguous() for name, value in tensors.items()}, Path(folder) / "model.safetensors", {"format": "pt"})
            network, told = model.from_pretrained(folder, dtype=dtype, output_loading_info=True)
        assert not any(told[of] for of in ("missing_keys", "unexpected_keys", "mismatched_keys")), told
        return network.eval()

    return opened


def by_torchvision(**arguments):
    def opened(tensors, dtype):
        network = VisionTransformer(num_classes=5, **arguments).to(dtype).eval()
        network.load_state_dict(tensors)
        network.heads = torch.nn.Identity()
        return network

    return opened


def small(name, spread):
    """timm's network, whose embedding is the mean of its last map; of its own weights none has a gradient."""
    return Case(
        lambda: timm.create_model(name, num_classes=0).requires_grad_(False),
        {"library": "timm", "model": name, "without": "classifier"},
        {"eval": Run(images(2, 64), lambda network, x: network.forward_features(x).mean((2, 3)))},
        spread=spread,
    )


def laid(library, model, shapes, opened, size, embed=lambda network, x: network(x), constants={}):
    run = Run([torch.from_numpy(formula.uniform("input", (2, 3, *size)))])
    config = {"library": library, "model": model, "size": list(size)}
    return Case(lambda: Laid(shapes, opened, embed), config, {"eval": run}, constants)


SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 14, "image_size": 56}
TINY = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 256, "image_size": 32}
DINOV2, REGISTERS = "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"
CLIP = "vit_base_patch16_clip_quickgelu_224"
CLASS = lambda network, x: network(pixel_values=x).last_hidden_state[:, 0]

CASES = {
    "laid_dinov2": laid(
        "timm", DINOV2, dinov2(4, 2), by_timm(DINOV2, num_classes=0, depth=2, img_size=(70, 98)), (70, 98)
    ),
    "laid_dinov2_registers": laid(
        "timm", REGISTERS, dinov2(6, 2, 4), by_timm(REGISTERS, num_classes=0, depth=2, img_size=(42, 28)), (42, 28)
    ),
    "laid_dinov2_of_transformers": laid(
        "transformers",
        "Dinov2Model",
        dinov2_of_transformers(4, 2, 0, 64),
        by_transformers(Dinov2Model, Dinov2Config(**SMALL)),
        (56, 56),
        CLASS,
    ),
    "laid_dinov2_registers_of_transformers": laid(
        "transformers",
        "Dinov2WithRegistersModel",
        dinov2_of_transformers(4, 2, 3, 64),
        by_transformers(Dinov2WithRegistersModel, Dinov2WithRegistersConfig(num_register_tokens=3, **SMALL)),
        (56, 56),
        CLASS,
    ),
    "laid_openai_clip": laid(
        "timm",
        CLIP,
        openai(4, 8, 2, 64, 32),
        by_timm(CLIP, num_classes=32, depth=2, img_size=32, patch_size=8, embed_dim=64, num_heads=4),
        (32, 32),
        constants={"logit_scale": 4.6},
    ),
    "laid_vit_of_transformers": laid(
        "transformers",
        "ViTModel",
        vit_of_transformers(4, 8, 2, 64),
        by_transformers(ViTModel, ViTConfig(patch_size=8, **TINY)),
        (32, 32),
        CLASS,
    ),
    "laid_vit_of_torchvision": laid(
        "torchvision",
        "VisionTransformer",
        vit_of_torchvision(4, 8, 2, 64),
        by_torchvision(image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=64, mlp_dim=256),
        (32, 32),
    ),
    "laid_mobilenet_v2_of_timm": small("mobilenetv2_100", 4.0),
    "laid_mobilenet_v3_small_of_timm": small("mobilenetv3_small_100", 6.0),
    "laid_mobilenet_v3_large_of_timm": small("mobilenetv3_large_100", 5.0),
    "laid_efficientnet_b0_of_timm": small("efficientnet_b0", 7.0),
}
