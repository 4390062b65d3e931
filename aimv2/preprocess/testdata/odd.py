"""Writes odd_16.png with Pillow 13.0.0:

    python3 odd.py "$(go env GOROOT)/src/image"

odd_16.txt lists the odd pictures of Go's own tree, one a line, and odd_16.png has
each of them, one below the other: decoded, turned upright, over white, shortest
side to 16 bicubic, the middle 16x16. Pillow opens a grey picture of 16 bits as
numbers that its conversion to RGB would cut at 255; here its upper half counts.
"""
import sys
from pathlib import Path
from PIL import Image, ImageOps

here, root = Path(__file__).parent, Path(sys.argv[1])
S = 16


def rgb(path):
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):
        image = image.point(lambda v: v / 256).convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        white.alpha_composite(image)
        image = white
    return image.convert("RGB")


names = []
for pattern in ["testdata/*.*", "png/testdata/*.png", "png/testdata/pngsuite/*.png"]:
    for path in sorted(root.glob(pattern)):
        name = path.relative_to(root).as_posix()
        if "invalid" in name or "truncated.jpeg" in name:  # damaged
            continue
        names.append(name)

whole = Image.new("RGB", (S, S * len(names)))
for i, name in enumerate(names):
    image = rgb(root / name)
    w, h = image.size
    w, h = (int(S * w / h), S) if w >= h else (S, int(S * h / w))
    image = image.resize((w, h), Image.BICUBIC)
    left, top = (w - S) // 2, (h - S) // 2
    whole.paste(image.crop((left, top, left + S, top + S)), (0, S * i))
whole.save(here / f"odd_{S}.png", optimize=True)
(here / f"odd_{S}.txt").write_text("\n".join(names) + "\n")
