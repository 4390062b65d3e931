"""Writes probe.json: four steps of an attentive and of a linear probe in torch.

    python3 probe.py > probe.json      (torch 2.15.0)

AIM's attention pooling: BatchNorm1d without parameters (eps 1e-6), one learned query
against K and V, a linear head; torch's AdamW at the learning rates given, no decay on
query and bias, the gradient's norm clipped at 3, which acts on the attentive one.
"""
import json

import torch
import torch.nn.functional as F

torch.manual_seed(1)
B, N, D, H, C, STEPS = 6, 5, 8, 2, 3, 4
RATES, DECAY = [1e-2, 2e-2, 1e-2, 5e-3], 0.1


class Attentive(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = torch.nn.BatchNorm1d(D, affine=False, eps=1e-6)
        self.cls_token = torch.nn.Parameter(torch.randn(1, 1, D))
        self.k = torch.nn.Linear(D, D, bias=False)
        self.v = torch.nn.Linear(D, D, bias=False)
        self.linear = torch.nn.Linear(D, C)

    def forward(self, x):
        x = self.bn(x.transpose(1, 2)).transpose(1, 2)
        split = lambda t: t.reshape(B, -1, H, D // H).transpose(1, 2)
        o = F.scaled_dot_product_attention(split(self.cls_token.expand(B, -1, -1)), split(self.k(x)), split(self.v(x)))
        return self.linear(o.transpose(1, 2).reshape(B, 1, D).mean(1))


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.bn = torch.nn.BatchNorm1d(D, affine=False, eps=1e-6)
        self.linear = torch.nn.Linear(D, C)

    def forward(self, x):
        return self.linear(self.bn(x.mean(1)))


features = [3 + 5 * torch.randn(B, N, D) for _ in range(STEPS)]
labels = [torch.randint(C, (B,)) for _ in range(STEPS)]
flat = lambda t: [float(v) for v in t.detach().flatten()]
out = {"rates": RATES, "decay": DECAY, "features": [flat(x) for x in features], "labels": [y.tolist() for y in labels]}
for name, model in (("attentive", Attentive()), ("linear", Linear())):
    with torch.no_grad():
        model.linear.weight.mul_(30)  # so that the clipping acts
    begin = {n: flat(p) for n, p in model.named_parameters()}
    bare = [p for n, p in model.named_parameters() if n in ("cls_token", "linear.bias")]
    rest = [p for n, p in model.named_parameters() if n not in ("cls_token", "linear.bias")]
    opt = torch.optim.AdamW([{"params": rest, "weight_decay": DECAY}, {"params": bare, "weight_decay": 0}], betas=(0.9, 0.999), eps=1e-8)
    losses, norms = [], []
    for x, y, rate in zip(features, labels, RATES):
        for g in opt.param_groups:
            g["lr"] = rate
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)))
        losses.append(loss.item())
        opt.step()
    assert name == "linear" or max(norms) > 3, norms
    model.eval()
    out[name] = {
        "begin": begin,
        "end": {n: flat(p) for n, p in model.named_parameters()},
        "losses": losses,
        "mean": flat(model.bn.running_mean),
        "variance": flat(model.bn.running_var),
        "top": model(features[0]).topk(C).indices.tolist(),
    }
print(json.dumps(out))
