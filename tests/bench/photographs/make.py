#!/usr/bin/env python3
"""Makes the photographs that `cargo xtask bench data` decodes: 500 × 375, 4:2:0, quality 90, as large as real ones.

Textures of a natural spectrum (power falls with the square of the frequency), colours that go along with the brightness, and a few shapes with
sharp edges. Needs NumPy and Pillow; the files are committed.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 500, 375


def texture(rng):
    spectrum = rng.normal(size=(HEIGHT, WIDTH)) + 1j * rng.normal(size=(HEIGHT, WIDTH))
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None], np.fft.fftfreq(WIDTH)[None]
    values = np.fft.ifft2(spectrum / np.maximum(np.hypot(fy, fx), 1 / WIDTH)).real
    return (values - values.mean()) / values.std()


def photograph(seed):
    rng = np.random.default_rng(seed)
    light = texture(rng)
    pixels = np.stack([120 + 45 * light + 12 * texture(rng) for _ in range(3)], axis=-1)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y, r = rng.integers(0, WIDTH), rng.integers(0, HEIGHT), rng.integers(10, 60)
        draw.ellipse([x - r, y - r // 2, x + r, y + r // 2], outline=tuple(int(v) for v in rng.integers(0, 256, 3)), width=3)
    return image


for seed in range(4):
    photograph(seed).save(Path(__file__).parent / f"{seed}.jpg", quality=90, subsampling="4:2:0")
