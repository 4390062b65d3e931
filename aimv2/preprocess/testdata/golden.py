"""Writes the golden pictures of this folder with Pillow 13.0.0:

    python3 golden.py

resize_WxH_X0_Y0_X1_Y1.png is input.png resized to WxH from that box;
over_R_G_B.png is alpha.png composited over that colour;
clip_S.png is input.png resized and cropped as CLIPImageProcessor does.
"""
from pathlib import Path
from PIL import Image
import random

here = Path(__file__).parent
rng = random.Random(1)
W, H = 61, 43


def value(x, y, c):  # a gradient for the lobes of the kernel to ring on, and noise
    step = 255 if (x // 9 + y // 7 + c) % 2 else 0
    return min(255, max(0, step + rng.randint(-60, 60)))


image = Image.new("RGB", (W, H))
image.putdata([tuple(value(x, y, c) for c in range(3)) for y in range(H) for x in range(W)])
image.save(here / "input.png")

for size, box in [
    ((48, 48), (0, 0, W, H)),
    ((17, 11), (0, 0, W, H)),
    ((90, 70), (0, 0, W, H)),
    ((W, 20), (0, 0, W, H)),  # vertical pass alone
    ((20, H), (0, 0, W, H)),  # horizontal pass alone
    ((W, H), (0, 0, W, H)),  # neither
    ((48, 48), (3.25, 5.5, 40.75, 39.125)),
    ((1, 1), (0, 0, W, H)),
    ((24, 24), (60, 42, 61, 43)),  # one pixel
]:
    name = "resize_%dx%d_%g_%g_%g_%g.png" % (*size, *box)
    image.resize(size, Image.BICUBIC, box).save(here / name)

S = 32
resized = image.resize((int(S * W / H), S), Image.BICUBIC)
left = (resized.width - S) // 2
resized.crop((left, 0, left + S, S)).save(here / f"clip_{S}.png")

alpha = Image.new("RGBA", (16, 16))
alpha.putdata([(*(rng.randint(0, 255) for _ in range(3)), i % 256) for i in range(256)])
alpha.save(here / "alpha.png")
for colour in [(255, 255, 255), (12, 200, 77)]:
    back = Image.new("RGBA", alpha.size, (*colour, 255))
    back.alpha_composite(alpha)
    back.convert("RGB").save(here / ("over_%d_%d_%d.png" % colour))
