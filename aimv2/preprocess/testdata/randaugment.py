"""Writes randaugment.png with Pillow 13.0.0:

    python3 randaugment.py

Below each other: the input, then every operation of RandAugment on it, in the order
of randOps in randaugment.go, at the level 0.9 with sign +1 and at 0.37 with -1.
"""
from pathlib import Path
from PIL import Image, ImageEnhance, ImageOps
import random

rng = random.Random(3)
W, H = 23, 19


def value(x, y, c):  # neither channel reaches 0 or 255, so that autocontrast has work
    return 30 + (70 * c + 9 * x + (40 if (x // 5 + y // 4) % 2 else 0) + rng.randint(0, 30)) % 180


image = Image.new("RGB", (W, H))
image.putdata([tuple(value(x, y, c) for c in range(3)) for y in range(H) for x in range(W)])
FILL = dict(resample=Image.BICUBIC, fillcolor=(124, 116, 104))


def affine(matrix):
    return image.transform(image.size, Image.AFFINE, matrix, **FILL)


def factor(level, sign):
    return max(0.1, 1 + sign * 0.9 * level)


OPERATIONS = [
    lambda level, sign: ImageOps.autocontrast(image),
    lambda level, sign: ImageOps.equalize(image),
    lambda level, sign: ImageOps.invert(image),
    lambda level, sign: image.rotate(sign * 30 * level, **FILL),
    lambda level, sign: ImageOps.posterize(image, 4 - int(4 * level)),
    lambda level, sign: ImageOps.solarize(image, 256 - min(256, int(256 * level))),
    lambda level, sign: image.point([min(255, v + min(128, int(110 * level))) if v < 128 else v for v in range(256)] * 3),
    lambda level, sign: ImageEnhance.Color(image).enhance(factor(level, sign)),
    lambda level, sign: ImageEnhance.Contrast(image).enhance(factor(level, sign)),
    lambda level, sign: ImageEnhance.Brightness(image).enhance(factor(level, sign)),
    lambda level, sign: ImageEnhance.Sharpness(image).enhance(factor(level, sign)),
    lambda level, sign: affine((1, sign * 0.3 * level, 0, 0, 1, 0)),
    lambda level, sign: affine((1, 0, 0, sign * 0.3 * level, 1, 0)),
    lambda level, sign: affine((1, 0, sign * 0.45 * level * W, 0, 1, 0)),
    lambda level, sign: affine((1, 0, 0, 0, 1, sign * 0.45 * level * H)),
]
pictures = [image] + [run(level, sign) for run in OPERATIONS for level, sign in ((0.9, 1), (0.37, -1))]
out = Image.new("RGB", (W, H * len(pictures)))
for i, p in enumerate(pictures):
    out.paste(p, (0, H * i))
out.save(Path(__file__).parent / "randaugment.png")
