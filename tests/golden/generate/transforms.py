"""What Pillow and torchvision make of two small pictures: `transforms.safetensors`."""

import io

import numpy as np
import PIL
import PIL.ImageOps
import torch
import torchvision
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import autoaugment
from torchvision.transforms import functional as F
from torchvision.transforms import InterpolationMode as Mode

from golden_file import save

WIDTH, HEIGHT = 40, 31
FILTERS = {"nearest": Mode.NEAREST, "bilinear": Mode.BILINEAR, "bicubic": Mode.BICUBIC, "lanczos": Mode.LANCZOS}
SIDES = [[12, 20], [31, 17], [9, 40], [40, 52], [5, 70]]
DRAWS = 20_000


def picture():
    """Slopes, edges, noise and flat parts, with all values from 0 to 255."""
    random = np.random.default_rng(20240401)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [127 + 120 * np.sin(x / 5 + y / 9), 255.0 * x / WIDTH, 127 + 127 * np.cos(y / 4)]
    rgb = np.stack(planes, axis=-1) + random.normal(size=(HEIGHT, WIDTH, 3)) * 12
    rgb[5:12, 8:20] = [250, 20, 40]
    rgb[18:25, 25:36] = [30, 30, 30]
    rgb[0, :3] = [[0, 0, 0], [255, 255, 255], [255, 0, 255]]
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


RGB = picture()
GREY = RGB.convert("L")
SMALL = RGB.crop((4, 2, 27, 22))
SMALL_GREY = SMALL.convert("L")


def array(image):
    return np.asarray(image, dtype=np.uint8)


def resize():
    for name, mode in FILTERS.items():
        out = {f"rgb_{h}x{w}": array(F.resize(RGB, [h, w], mode)) for h, w in SIDES}
        out["grey_12x20"] = array(F.resize(GREY, [12, 20], mode))
        out["shorter_16"] = array(F.resize(RGB, 16, mode))
        # Cropped first: pixels outside of the box have no part.
        out["region"] = array(F.resized_crop(RGB, 3, 7, 20, 26, [14, 14], mode))
        yield f"resize_{name}", ({"sides": SIDES, "region": [3, 7, 20, 26]}, out)


def center_crop():
    sizes = [[12, 12], [15, 20], [25, 10], [10, 30], [27, 28]]
    return {"sizes": sizes}, {f"{h}x{w}": array(F.center_crop(SMALL, [h, w])) for h, w in sizes}


def enhance():
    factors = {
        "brightness": (F.adjust_brightness, [0.0, 0.37, 1.4]),
        "contrast": (F.adjust_contrast, [0.0, 0.37, 1.9]),
        "saturation": (F.adjust_saturation, [0.0, 0.37, 1.9]),
        "sharpness": (F.adjust_sharpness, [0.0, 0.37, 1.9]),
        "hue": (F.adjust_hue, [-0.5, -0.11, 0.07, 0.33]),
    }
    out = {f"{name}_{i}": array(change(SMALL, x)) for name, (change, xs) in factors.items() for i, x in enumerate(xs)}
    out |= {"grey": array(SMALL_GREY)}
    return {name: xs for name, (_, xs) in factors.items()}, out


def blur():
    settings = [[3, 0.5], [7, 1.5], [23, 2.0]]
    out = {str(i): array(F.gaussian_blur(RGB, [k, k], [s, s])) for i, (k, s) in enumerate(settings)}
    return {"settings": settings}, out


def affine():
    settings = [
        {"angle": 25.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]},
        {"angle": -10.0, "translate": [4, -3], "scale": 1.3, "shear": [8.0, -5.0]},
        {"angle": 0.0, "translate": [-5, 2], "scale": 0.7, "shear": [0.0, 0.0]},
    ]
    out = {}
    for name in ["nearest", "bilinear"]:
        for i, setting in enumerate(settings):
            out[f"{name}_{i}"] = array(F.affine(SMALL, **setting, interpolation=FILTERS[name], fill=[10, 20, 30]))
        out[f"{name}_rotate"] = array(F.rotate(SMALL, 33.0, FILTERS[name], fill=[10, 20, 30]))
    return {"settings": settings, "rotate": 33.0, "fill": [10, 20, 30]}, out


def rand_augment():
    """Every operation in both directions: magnitude 9 forwards, 30 backwards."""
    space = autoaugment.RandAugment()._augmentation_space(31, (SMALL.height, SMALL.width))
    out = {}
    strengths = [[9, False], [30, True]]
    for i, (magnitude, negative) in enumerate(strengths):
        for name, (magnitudes, signed) in space.items():
            value = float(magnitudes[magnitude]) if magnitudes.ndim else 0.0
            value = -value if signed and negative else value
            out[f"{name}_{i}"] = array(autoaugment._apply_op(SMALL, name, value, Mode.NEAREST, fill=None))
    return {"ops": list(space), "strengths": strengths}, out


def decode():
    """Files, and what torchvision's loader makes of them: RGB of 8 bits."""
    files = {}

    def write(name, image, kind, **options):
        file = io.BytesIO()
        image.save(file, kind, **options)
        files[name] = file.getvalue()

    write("jpeg_rgb", SMALL, "JPEG", quality=90, subsampling=0)
    write("jpeg_420", SMALL, "JPEG", quality=90)
    write("jpeg_progressive", SMALL, "JPEG", quality=90, progressive=True)
    write("jpeg_grey", SMALL_GREY, "JPEG", quality=90)
    write("jpeg_cmyk", SMALL.convert("CMYK"), "JPEG", quality=95)
    write("png_rgb", SMALL, "PNG")
    write("png_grey", SMALL_GREY, "PNG")
    write("png_palette", SMALL.quantize(32), "PNG")
    write("png_bits", SMALL_GREY.point(lambda v: 255 * (v > 100)).convert("1"), "PNG")
    write("webp_lossless", SMALL, "WEBP", lossless=True)
    write("webp_lossy", SMALL, "WEBP", quality=90)
    write("ppm", SMALL, "PPM")
    write("pgm", SMALL_GREY, "PPM")
    write("bmp", SMALL, "BMP")
    out = {}
    for name, data in files.items():
        out[f"{name}/file"] = np.frombuffer(data, dtype=np.uint8)
        out[f"{name}/pixels"] = array(Image.open(io.BytesIO(data)).convert("RGB"))
    # 16 bits: Pillow cuts them when asked for RGB; the wish is v / 257, rounded.
    deep = np.linspace(0, 65535, SMALL.height * SMALL.width).astype(np.uint16).reshape(SMALL.height, SMALL.width)
    file = io.BytesIO()
    Image.fromarray(deep).save(file, "PNG")
    eight = np.rint(deep / 257).astype(np.uint8)
    out |= {"png_16/file": np.frombuffer(file.getvalue(), dtype=np.uint8), "png_16/pixels": np.stack([eight] * 3, -1)}
    return {"files": [*files, "png_16"]}, out


def orientation():
    """The eight orientations of EXIF, upright by Pillow's `exif_transpose`."""
    out = {}
    for value in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = value
        file = io.BytesIO()
        SMALL.save(file, "PNG", exif=exif)
        out[f"png_{value}/file"] = np.frombuffer(file.getvalue(), dtype=np.uint8)
        out[f"png_{value}/pixels"] = array(PIL.ImageOps.exif_transpose(Image.open(file)))
    file = io.BytesIO()
    exif[0x0112] = 6
    SMALL.save(file, "JPEG", quality=95, subsampling=0, exif=exif)
    out["jpeg_6/file"] = np.frombuffer(file.getvalue(), dtype=np.uint8)
    out["jpeg_6/pixels"] = array(PIL.ImageOps.exif_transpose(Image.open(file)))
    return {}, out


def evaluation():
    """Scale, crop and normalise, as in a test."""
    steps = [T.Resize(24), T.CenterCrop(20), T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    return {"resize": 24, "center_crop": 20}, {"input": T.Compose(steps)(RGB).numpy()}


def moments(rows):
    rows = np.array(rows, dtype=np.float64)
    return np.stack([rows.mean(0), rows.std(0)])


def crops():
    """Mean and deviation of width, height, left and top."""
    settings = [
        {"sides": [375, 500], "scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3]},
        {"sides": [375, 500], "scale": [0.16, 1.0], "ratio": [3 / 4, 4 / 3]},
        {"sides": [300, 100], "scale": [0.2, 1.0], "ratio": [3 / 4, 4 / 3]},
        {"sides": [90, 400], "scale": [0.9, 1.0], "ratio": [1.0, 2.0]},
    ]
    torch.manual_seed(1)
    out = {}
    for i, setting in enumerate(settings):
        image = torch.empty(3, *setting["sides"])
        rows = []
        for _ in range(DRAWS):
            top, left, high, wide = T.RandomResizedCrop.get_params(image, setting["scale"], setting["ratio"])
            rows.append([wide, high, left, top])
        out[str(i)] = moments(rows)
    return {"settings": settings, "draws": DRAWS}, out


def erasings():
    """Mean and deviation of the share that is erased and of the middle of the rectangle, x and y."""
    settings = [{"scale": [0.02, 0.33], "ratio": [0.3, 3.3]}, {"scale": [0.5, 1.0], "ratio": [0.3, 3.3]}]
    torch.manual_seed(2)
    out = {}
    for i, setting in enumerate(settings):
        image = torch.ones(1, 30, 40)
        rows = []
        for _ in range(DRAWS // 4):
            top, left, high, wide, _ = T.RandomErasing.get_params(image, setting["scale"], setting["ratio"], [0.0])
            # All of the image stands for none of it.
            whole = (high, wide) == (30, 40)
            rows.append([0, 0, 0] if whole else [high * wide, left + wide / 2, top + high / 2])
        out[str(i)] = moments(rows)
    return {"settings": settings, "sides": [30, 40], "draws": DRAWS // 4}, out


cases = {"pictures": ({}, {"rgb": array(RGB), "grey": array(GREY), "small": array(SMALL)})}
cases |= dict(resize())
for make in [center_crop, enhance, blur, affine, rand_augment, decode, orientation, evaluation, crops, erasings]:
    cases[make.__name__] = make()
save("transforms.safetensors", cases, {"pillow": PIL.__version__, "torchvision": torchvision.__version__})
