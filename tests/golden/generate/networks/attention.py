"""Vision transformers: timm's, and CLIP's tower of transformers."""

import timm
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from .case import Case, Run, images

CLIP = {
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "patch_size": 8,
    "image_size": 32,
    "projection_dim": 32,
    "hidden_act": "quick_gelu",
}


REGISTERS = "vit_small_patch14_reg4_dinov2"
POOLED = {"img_size": 56, "depth": 2, "embed_dim": 48, "num_heads": 3, "global_pool": "avg", "fc_norm": False}


def vit(name, **arguments):
    """timm's model, whose embedding is the class token after the last norm."""
    network = lambda: timm.create_model(name, num_classes=0, **arguments)
    config = {"library": "timm", "model": name} | arguments
    return Case(network, config, {"eval": Run(images(2, arguments["img_size"]))})


CASES = {
    "vit_tiny": vit("vit_tiny_patch16_224", img_size=64, depth=3),
    "vit_small": vit("vit_small_patch16_224", img_size=64, depth=3),
    "vit_dinov2": vit("vit_small_patch14_dinov2", img_size=56, depth=2),
    "vit_dinov2_registers": vit(REGISTERS, img_size=56, depth=2),
    # Of the patches alone, whose number is not that of the tokens.
    "vit_pooled": Case(
        lambda: timm.create_model(REGISTERS, num_classes=0, **POOLED),
        {"library": "timm", "model": REGISTERS} | POOLED,
        {
            "mean": Run(images(2, POOLED["img_size"])),
            "max": Run(images(2, POOLED["img_size"]), lambda network, x: network.pool(network.forward_features(x), "max")),
        },
    ),
    "clip_vision": Case(
        lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)),
        {"library": "transformers", "model": "CLIPVisionModelWithProjection"} | CLIP,
        {"eval": Run(images(2, CLIP["image_size"]), lambda network, x: network(pixel_values=x).image_embeds)},
    ),
}
