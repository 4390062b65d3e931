# Writes positions.json: position tables resized by torch, to compare InterpolatePositions with.
#   python positions.py > positions.json
import json, torch
out = []
for (h, w, h2, w2, d) in [(3, 3, 5, 5, 2), (4, 4, 4, 4, 1), (4, 3, 2, 7, 2), (1, 1, 2, 2, 1), (5, 5, 3, 3, 1)]:
    t = torch.arange(h * w * d, dtype=torch.float64)
    t = torch.sin(3 * t * t + 1)
    x = t.reshape(1, h, w, d).permute(0, 3, 1, 2)
    y = torch.nn.functional.interpolate(x, size=(h2, w2), mode="bicubic", align_corners=False)
    y = y.permute(0, 2, 3, 1).reshape(-1)
    out.append({"h": h, "w": w, "h2": h2, "w2": w2, "d": d, "in": [round(v, 9) for v in t.tolist()], "out": [round(v, 9) for v in y.tolist()]})
print(json.dumps(out))
