"""AIMV2 in plain PyTorch, under the names of our checkpoints: what our training
step and encoder are compared with.

    python aimv2_torch.py --check DIR

compares its losses and gradient with ours on the same weights and batch, which
`go run ./bench/cmd/compare -op step -export DIR` writes (-quick for a small
model). The exit status is 1 if they differ.

Source: Fini et al. 2024, arXiv:2411.14402.
"""

import fnmatch
import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import serve


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, serve.EPS)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)

    def forward(self, x, mask, causal):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.proj(y.transpose(1, 2).reshape(b, t, d))


class SwiGLU(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias=False)
        self.fc2 = nn.Linear(hidden, width, bias=False)
        self.fc3 = nn.Linear(width, hidden, bias=False)

    def forward(self, x):
        return self.fc2(F.silu(self.fc1(x)) * self.fc3(x))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.attn, self.norm_1 = Attention(width, heads), RMSNorm(width)
        self.mlp, self.norm_2 = SwiGLU(width, hidden), RMSNorm(width)

    def forward(self, x, mask, causal):
        x = x + self.attn(self.norm_1(x), mask, causal)
        return x + self.mlp(self.norm_2(x))


class Trunk(nn.Module):
    def __init__(self, width, depth, heads, hidden):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.post_trunk_norm = RMSNorm(width)

    def forward(self, x, mask=None, causal=False):
        for block in self.blocks:
            x = block(x, mask, causal)
        return self.post_trunk_norm(x)


class Encoder(nn.Module):
    def __init__(self, image, patch, width, depth, heads, hidden):
        super().__init__()
        self.preprocessor = nn.Module()
        self.preprocessor.patchifier = nn.Module()
        self.preprocessor.patchifier.proj = nn.Conv2d(3, width, patch, patch)
        self.preprocessor.patchifier.norm = RMSNorm(width)
        self.preprocessor.pos_embed = nn.Parameter(torch.empty(1, (image // patch) ** 2, width))
        self.trunk = Trunk(width, depth, heads, hidden)

    def forward(self, images, prefix=None):
        x = self.preprocessor.patchifier.proj(images).flatten(2).transpose(1, 2)
        x = self.preprocessor.patchifier.norm(x) + self.preprocessor.pos_embed
        mask = None
        if prefix is not None:  # token i sees j ≤ i and the prefix; added to the scores, once for all blocks
            i = torch.arange(x.shape[1])
            seen = (i[None, :] <= i[:, None]) | (i[None, None, :] < prefix[:, None, None])
            mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf")).unsqueeze(1)
        return self.trunk(x, mask)


class Decoder(nn.Module):
    def __init__(self, patch, features, width, depth, heads, hidden, vocab, context):
        super().__init__()
        self.preprocessor = nn.Module()
        self.preprocessor.vision_preprocessor = nn.Module()
        self.preprocessor.vision_preprocessor.module = nn.Linear(features, width)
        text = self.preprocessor.text_preprocessor = nn.Module()
        text.positional_embedding = nn.Parameter(torch.empty(context + 1, width))
        text.cls_token = nn.Parameter(torch.empty(1, 1, width))
        text.text_embedding = nn.Embedding(vocab, width)
        self.trunk = Trunk(width, depth, heads, hidden)
        self.head = nn.Module()
        self.head.blocks = nn.ModuleList(nn.Module() for _ in range(2))
        self.head.blocks[0].linear = nn.Linear(width, vocab, bias=False)
        self.head.blocks[1].linear = nn.Linear(width, 3 * patch * patch, bias=False)

    def forward(self, features, ids):
        text = self.preprocessor.text_preprocessor
        words = torch.cat((text.cls_token.expand(len(ids), -1, -1), text.text_embedding(ids)), 1)
        words = words + text.positional_embedding[: words.shape[1]]
        x = torch.cat((self.preprocessor.vision_preprocessor.module(features), words), 1)
        x = self.trunk(x, causal=True)
        n = features.shape[1]
        return self.head.blocks[1].linear(x[:, :n]), self.head.blocks[0].linear(x[:, n:])


class Model(nn.Module):
    def __init__(self, image, patch, encoder, decoder, vocab, context):
        super().__init__()
        self.image_encoder = Encoder(image, patch, *encoder)
        self.text_decoder = Decoder(patch, encoder[0], *decoder, vocab, context)

    def forward(self, b):
        """The losses: 0.4·pixel + text, pixel and text."""
        pixels, logits = self.text_decoder(self.image_encoder(b["images"], b["prefix"]), b["ids"])
        pixel = ((pixels[:, :-1] - b["pixel_target"]).square() * b["pixel_weight"]).sum()
        text = F.cross_entropy(logits.flatten(0, 1), b["target"].flatten(), ignore_index=-1)
        return 0.4 * pixel + text, pixel, text


def build(make):
    """A module whose parameters hold nothing yet, without drawing them first."""
    with torch.device("meta"):
        module = make()
    return module.to_empty(device="cpu")


def set_weights(module, prefix=""):
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(torch.from_numpy(serve.weight(prefix + name, tuple(p.shape))))


def tensors(batch):
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in vars(batch).items()}


class Step:
    """A training step: forward, backward, clipping and AdamW."""

    def __init__(self, model, batch, compiled):
        self.model, self.batch = model, batch
        self.loss = torch.compile(model, dynamic=False) if compiled else model
        self.reset()

    def reset(self):
        decayed, others = [], []
        for name, p in self.model.named_parameters():
            p.grad = None
            (others if any(fnmatch.fnmatchcase(name, n) for n in serve.NO_DECAY) else decayed).append(p)
        self.params = decayed + others
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": serve.DECAY / serve.STEP_RATE}, {"params": others, "weight_decay": 0.0}],
            lr=serve.STEP_RATE, betas=serve.BETAS, eps=serve.ADAM_EPS, fused=True,
        )

    def __call__(self):
        total, pixel, text = self.loss(self.batch)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.params, serve.CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total, pixel, text, norm

    def check(self):
        """Of the first step the losses, the gradient's norm and the sum of the
        second moments, of the third the losses."""
        self.reset()
        total, pixel, text, norm = (v.item() for v in self())
        squares = sum(self.optimizer.state[p]["exp_avg_sq"].sum().item() for p in self.params)
        self()
        return [pixel, text, total, norm, squares] + [v.item() for v in self()[1:3]]


def check(folder):
    from safetensors.torch import load_file

    with open(os.path.join(folder, "check.json")) as f:
        ours = json.load(f)
    c = ours["model"]
    stack = lambda s: (s["width"], s["depth"], s["heads"], s["hidden"])
    size = (c["image_size"], c["patch_size"])
    model = Model(*size, stack(c["encoder"]), stack(c["decoder"]), c["vocab_size"], c["context"])
    model.load_state_dict(load_file(os.path.join(folder, "model.safetensors")), strict=True)
    load = lambda name: np.load(os.path.join(folder, name + ".npy"))
    captions = [row[row >= 0].astype(np.int64) for row in load("captions")]
    batch = serve.Batch(*size, c["vocab_size"], c["context"], load("images"), load("prefix").astype(np.int64), captions)
    status = 0
    names = ("pixel loss", "text loss", "loss", "gradient norm", "second moments", "third pixel loss", "third text loss")
    for name, want, got in zip(names, ours["values"], Step(model, tensors(batch), False).check(), strict=True):
        wrong = not abs(got - want) <= 1e-4 * abs(want)
        status |= wrong
        print(f"{name:18} ours {want:.9g}  torch {got:.9g}  {'WRONG' if wrong else 'ok'}")
    return status


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "--check":
        sys.exit(__doc__)
    sys.exit(check(sys.argv[2]))
