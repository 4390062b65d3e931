"""JAX on the CPU as a peer of bench/cmd/compare, every function through jit."""

import serve

serve.restrict()  # XLA takes a thread for each CPU that it sees

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np

from serve import BIAS, COTANGENT, U, WEIGHT, X


def operand(shape, seed, plus=0.0, times=1.0):
    return jnp.asarray(serve.filled(shape, seed, plus, times))


def passes(f, inputs, backward, gy, outputs, some=None):
    """A function and its VJP as problems. What the VJP keeps of the forward pass
    is computed once; some is the cotangent of a check, gy unless given."""
    if not backward:
        f = jax.jit(f)
        run = lambda: jax.block_until_ready(f(*inputs))
        return run, lambda: outputs([run()])
    _, vjp = jax.jit(lambda *inputs: jax.vjp(f, *inputs))(*inputs)
    pull = jax.jit(lambda vjp, g: vjp(g))
    return lambda: jax.block_until_ready(pull(vjp, gy)), lambda: outputs(pull(vjp, gy if some is None else some))


def arrays(xs):
    return [np.asarray(x) for x in xs]


def attention(kind, mask, *sizes):
    b, h, t, d = map(int, sizes)
    q, k, v = (operand((b, t, h, d), seed, 0, 2) for seed in (X, U, WEIGHT))
    seen = None
    if mask == "prefix":
        i = jnp.arange(t)
        seen = ((i[None, :] <= i[:, None]) | (i[None, :] < t // 2))[None, None]
    f = lambda q, k, v: jax.nn.dot_product_attention(q, k, v, mask=seen, is_causal=mask == "causal")
    rows = serve.distinct(serve.ELEMENTS, b * t * h)
    if kind == "forward":
        return passes(f, [q, k, v], False, None, lambda ys: [np.asarray(ys[0]).reshape(-1, d)[rows]])
    gy = serve.filled((b, t, h, d), COTANGENT, 0, 2)
    some = np.zeros((b * t * h, d), np.float32)
    some[rows] = gy.reshape(-1, d)[rows]
    return passes(f, [q, k, v], True, jnp.asarray(gy), arrays, jnp.asarray(some.reshape(gy.shape)))


def rms_norm(x, w):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + serve.EPS) * w


def layer_norm(x, w, b):
    x = x - jnp.mean(x, -1, keepdims=True)
    return rms_norm(x, w) + b


def norm(name, kind, n, d):
    n, d = int(n), int(d)
    x, u = operand((n, d), X, 0, 4), operand((n, d), U) if name in ("swiglu", "add") else None
    w, b = operand((d,), WEIGHT, 1, 0.1), operand((d,), BIAS)
    f, inputs = {
        "rmsnorm": (rms_norm, [x, w]),
        "layernorm": (layer_norm, [x, w, b]),
        "softmax": (jax.nn.softmax, [x]),
        "swiglu": (lambda x, u: jax.nn.silu(x) * u, [x, u]),
        "gelu": (lambda x: jax.nn.gelu(x, approximate=True), [x]),
        "add": (jnp.add, [x, u]),
    }[name]
    return passes(f, inputs, kind == "backward", operand((n, d), COTANGENT) if kind == "backward" else None, arrays)


def loss(rows, width, vocab):
    rows, width, vocab = int(rows), int(width), int(vocab)
    x, w = operand((rows, width), X), operand((vocab, width), WEIGHT, 0, 0.1)
    every, few = map(jnp.asarray, serve.loss_targets(rows, vocab))

    @jax.jit
    @lambda f: jax.value_and_grad(f, (0, 1))
    def f(x, w, target):
        logits = x @ w.T
        counted = target >= 0
        chosen = jnp.take_along_axis(logits, jnp.maximum(target, 0)[:, None], 1)[:, 0]
        return jnp.sum(jnp.where(counted, jax.nn.logsumexp(logits, -1) - chosen, 0)) / counted.sum()

    def check():
        value, grads = f(x, w, few)
        return [float(value), *arrays(grads)]

    return lambda: jax.block_until_ready(f(x, w, every)), check


def infer(image, patch, width, depth, heads, hidden, batch):
    image, patch, width, depth, heads, hidden, batch = map(int, (image, patch, width, depth, heads, hidden, batch))
    side = image // patch
    n = side * side
    take = lambda name, *shape: jnp.asarray(serve.weight("image_encoder." + name, shape))
    params = {
        "proj": take("preprocessor.patchifier.proj.weight", width, 3, patch, patch).reshape(width, -1),
        "bias": take("preprocessor.patchifier.proj.bias", width),
        "norm": take("preprocessor.patchifier.norm.weight", width),
        "position": take("preprocessor.pos_embed", 1, n, width),
        "last": take("trunk.post_trunk_norm.weight", width),
        "blocks": [{
            "norm_1": take(f"trunk.blocks.{i}.norm_1.weight", width),
            "qkv": take(f"trunk.blocks.{i}.attn.qkv.weight", 3 * width, width),
            "proj": take(f"trunk.blocks.{i}.attn.proj.weight", width, width),
            "norm_2": take(f"trunk.blocks.{i}.norm_2.weight", width),
            "fc1": take(f"trunk.blocks.{i}.mlp.fc1.weight", hidden, width),
            "fc2": take(f"trunk.blocks.{i}.mlp.fc2.weight", width, hidden),
            "fc3": take(f"trunk.blocks.{i}.mlp.fc3.weight", hidden, width),
        } for i in range(depth)],
    }

    @jax.jit
    def f(p, images):
        x = images.reshape(batch, 3, side, patch, side, patch).transpose(0, 2, 4, 1, 3, 5).reshape(batch, n, -1)
        x = rms_norm(x @ p["proj"].T + p["bias"], p["norm"]) + p["position"]
        for w in p["blocks"]:
            q, k, v = jnp.split((rms_norm(x, w["norm_1"]) @ w["qkv"].T).reshape(batch, n, 3 * heads, -1), 3, 2)
            x = x + jax.nn.dot_product_attention(q, k, v).reshape(batch, n, width) @ w["proj"].T
            y = rms_norm(x, w["norm_2"])
            x = x + (jax.nn.silu(y @ w["fc1"].T) * (y @ w["fc3"].T)) @ w["fc2"].T
        return rms_norm(x, p["last"])

    images = operand((batch, 3, image, image), X, 0, 2)
    run = lambda: jax.block_until_ready(f(params, images))
    return run, lambda: arrays([run()])


def prepare(op, arguments):
    jax.clear_caches()  # and what compiled functions hold
    return {"attention": attention, "norm": norm, "loss": loss, "infer": infer}[op](*arguments)


if __name__ == "__main__":
    serve.serve(f"JAX {jax.__version__}, jaxlib {jax.lib.__version__}, jit", prepare)
