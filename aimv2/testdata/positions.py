# Writes positions.json: position tables resized by torch, to compare Encoder.InterpolatePositions with.
#   python positions.py > positions.json
import json, torch
out = []
for (n, h, w, d) in [(3, 5, 5, 2), (4, 4, 4, 1), (4, 2, 7, 2), (2, 6, 1, 3), (5, 3, 3, 1)]:
    t = torch.arange(n * n * d, dtype=torch.float64)
    t = torch.sin(3 * t * t + 1)
    x = t.reshape(1, n, n, d).permute(0, 3, 1, 2)
    y = torch.nn.functional.interpolate(x, size=(h, w), mode="bicubic", align_corners=False)
    y = y.permute(0, 2, 3, 1).reshape(-1)
    out.append({"n": n, "h": h, "w": w, "d": d, "in": [round(v, 9) for v in t.tolist()], "out": [round(v, 9) for v in y.tolist()]})
print(json.dumps(out))
