"""Writes lossy.webp and lossy-alpha.webp, and what libwebp makes of them, with Pillow 13.0.0:

    python3 lossy.py
"""
from pathlib import Path
from PIL import Image

here = Path(__file__).parent
photo = Image.open(here / "video-001.jpeg").convert("RGB").crop((40, 20, 91, 57))
alpha = photo.copy()
alpha.putalpha(Image.linear_gradient("L").resize(photo.size))
for name, image in [("lossy", photo), ("lossy-alpha", alpha)]:
    image.save(here / (name + ".webp"), quality=90)
    Image.open(here / (name + ".webp")).save(here / (name + ".webp.png"), optimize=True)
