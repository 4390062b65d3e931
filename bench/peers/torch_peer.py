"""PyTorch as a peer of bench/cmd/compare.

    python torch_peer.py eager|foreach|compile

eager runs op by op, with the fused AdamW; foreach is eager with the AdamW of
vector ops, which compile hands to torch.compile as it does everything else.
"""

import sys

import torch
import torch.nn.functional as F

import aimv2_torch
import serve
from serve import BIAS, COTANGENT, U, WEIGHT, X

MODE = sys.argv[1]
COMPILED = MODE == "compile"


def compiled(f):
    return torch.compile(f, dynamic=False) if COMPILED else f


def operand(shape, seed, plus=0.0, times=1.0):
    return torch.from_numpy(serve.filled(shape, seed, plus, times))


def passes(f, inputs, backward, gy, outputs, some=None):
    """A function and its VJP as problems. The graph of a backward pass is made
    once; some is the cotangent of a check, gy unless given."""
    if not backward:
        def run():
            with torch.no_grad():
                return f(*inputs)
        return run, lambda: outputs([run()])
    inputs = [x.requires_grad_() for x in inputs]
    y = f(*inputs)
    def pull(g):
        return torch.autograd.grad(y, inputs, g, retain_graph=True)
    return lambda: pull(gy), lambda: outputs(pull(gy if some is None else some))


def arrays(ts):
    return [t.detach().numpy() for t in ts]


def attention(kind, mask, *sizes):
    b, h, t, d = map(int, sizes)
    q, k, v = (operand((b, t, h, d), seed, 0, 2) for seed in (X, U, WEIGHT))
    added = None
    if mask == "prefix":
        i = torch.arange(t)
        seen = (i[None, :] <= i[:, None]) | (i[None, :] < t // 2)
        added = torch.zeros(t, t).masked_fill(~seen, float("-inf"))

    def f(q, k, v):
        y = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=added, is_causal=mask == "causal")
        return y.transpose(1, 2)

    rows = serve.distinct(serve.ELEMENTS, b * t * h)
    if kind == "forward":
        return passes(compiled(f), [q, k, v], False, None, lambda ts: [ts[0].reshape(-1, d)[rows].numpy()])
    gy = operand((b, t, h, d), COTANGENT, 0, 2)
    some = torch.zeros(b * t * h, d)
    some[rows] = gy.view(-1, d)[rows]
    return passes(compiled(f), [q, k, v], True, gy, arrays, some.view_as(gy))


def norm(name, kind, n, d):
    n, d = int(n), int(d)
    x, u = operand((n, d), X, 0, 4), operand((n, d), U) if name in ("swiglu", "add") else None
    w, b = operand((d,), WEIGHT, 1, 0.1), operand((d,), BIAS)
    f, inputs = {
        "rmsnorm": (lambda x, w: F.rms_norm(x, (d,), w, serve.EPS), [x, w]),
        "layernorm": (lambda x, w, b: F.layer_norm(x, (d,), w, b, serve.EPS), [x, w, b]),
        "softmax": (lambda x: F.softmax(x, -1), [x]),
        "swiglu": (lambda x, u: F.silu(x) * u, [x, u]),
        "gelu": (lambda x: F.gelu(x, approximate="tanh"), [x]),
        "add": (lambda x, u: x + u, [x, u]),
    }[name]
    return passes(compiled(f), inputs, kind == "backward", operand((n, d), COTANGENT) if kind == "backward" else None, arrays)


def loss(rows, width, vocab):
    rows, width, vocab = int(rows), int(width), int(vocab)
    x, w = operand((rows, width), X).requires_grad_(), operand((vocab, width), WEIGHT, 0, 0.1).requires_grad_()
    every, few = map(torch.from_numpy, serve.loss_targets(rows, vocab))
    f = compiled(lambda x, w, target: F.cross_entropy(F.linear(x, w), target, ignore_index=-1))

    def call(target):
        value = f(x, w, target)
        return value, *torch.autograd.grad(value, (x, w))

    def check():
        value, gx, gw = call(few)
        return [value.item(), gx.numpy(), gw.numpy()]

    return lambda: call(every), check


def adamw(width, depth, hidden):
    width, depth, hidden = int(width), int(depth), int(hidden)
    sizes = [3 * width * width, width * width, hidden * width, hidden * width, width * hidden, width, width] * depth
    total = sum(sizes)
    start, buffer = serve.filled((total,), X), torch.empty(total)
    params = [p.clone().requires_grad_() for p in torch.from_numpy(start).split(sizes)]
    matrices = [p for i, p in enumerate(params) if i % 7 < 5]
    vectors = [p for i, p in enumerate(params) if i % 7 >= 5]

    def fill(seed, times):
        buffer.copy_(torch.from_numpy(serve.filled((total,), seed, 0, times)))
        for p, g in zip(params, buffer.split(sizes), strict=True):
            p.grad = g

    def fresh():
        optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": serve.DECAY / serve.LEARNING_RATE}, {"params": vectors, "weight_decay": 0.0}],
            lr=serve.LEARNING_RATE, betas=serve.BETAS, eps=serve.ADAM_EPS, **{"fused" if MODE == "eager" else "foreach": True})

        def step():
            torch.nn.utils.clip_grad_norm_(params, serve.CLIP)
            optimizer.step()

        return compiled(step)

    def check():
        before = torch.cat([p.detach().view(-1) for p in params]).split(sizes)
        with torch.no_grad():
            for p, s in zip(params, torch.from_numpy(start).split(sizes), strict=True):
                p.copy_(s)
        step = fresh()
        fill(COTANGENT, 1)
        step()
        fill(U, 1 / 3)
        step()
        fill(COTANGENT, 1)
        with torch.no_grad():
            moved = (torch.cat([p.view(-1) for p in params]) - torch.from_numpy(start)) / serve.LEARNING_RATE
            for p, s in zip(params, before, strict=True):
                p.copy_(s)
        return [moved.numpy()]

    fill(COTANGENT, 1)
    return fresh(), check


def step(image, patch, ew, ed, eh, ef, dw, dd, dh, df, vocab, context, batch):
    model = aimv2_torch.build(lambda: aimv2_torch.Model(
        int(image), int(patch), tuple(map(int, (ew, ed, eh, ef))), tuple(map(int, (dw, dd, dh, df))), int(vocab), int(context)))
    data = aimv2_torch.tensors(serve.step_batch(int(image), int(patch), int(vocab), int(context), int(batch)))
    s = aimv2_torch.Step(model, data, COMPILED)

    def check():
        aimv2_torch.set_weights(model)
        return s.check()

    return s, check


def infer(image, patch, width, depth, heads, hidden, batch):
    encoder = aimv2_torch.build(lambda: aimv2_torch.Encoder(*map(int, (image, patch, width, depth, heads, hidden)))).eval()
    aimv2_torch.set_weights(encoder, "image_encoder.")
    images = operand((int(batch), 3, int(image), int(image)), X, 0, 2)
    f = compiled(encoder)

    def run():
        with torch.no_grad():
            return f(images)

    return run, lambda: [run().numpy()]


def prepare(op, arguments):
    if COMPILED:
        torch._dynamo.reset()  # else the compiler gives up after some shapes
        torch._inductor.config.freezing = op == "infer"  # lays the weights out anew
    return {"attention": attention, "norm": norm, "loss": loss, "adamw": adamw, "step": step, "infer": infer}[op](*arguments)


if __name__ == "__main__":
    torch.set_num_threads(serve.THREADS)
    if COMPILED:
        import torch._dynamo
        import torch._functorch.config
        import torch._inductor.config

        # A backward pass that may run again must not reuse what forward kept.
        torch._functorch.config.donated_buffer = False
    serve.serve(f"PyTorch {torch.__version__}, {MODE}, {torch.backends.cpu.get_cpu_capability()}", prepare)
