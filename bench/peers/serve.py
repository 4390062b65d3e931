"""Answers the requests of bench/cmd/compare for peers written in Python.

README.md beside this file tells what the requests mean. A peer calls serve()
with its version and with a function that makes ready what is measured.
"""

import ctypes
import gc
import os
import sys
import time
import zlib

import numpy as np

# Contents of operands, the same in every program.
PERIOD = 1048573
X, U, WEIGHT, BIAS, ANSWER, COTANGENT = 1, 2, 3, 4, 6, 7
ELEMENTS = 16

EPS = 1e-5
LEARNING_RATE, STEP_RATE = 1e-3, 1e-4  # of adamw, of step
BETAS, ADAM_EPS, DECAY, CLIP = (0.9, 0.95), 1e-8, 1e-4, 1.0  # DECAY is of a step
NO_DECAY = ("*bias*", "*pos_embed*", "*norm*", "*logit_scale*", "*cls_token*", "*positional_embedding*")

THREADS = int(os.environ.get("COMPARE_THREADS", "1"))


def restrict():
    """Leave the process as many CPUs as it may have threads, for libraries
    without a setter: before they are imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])


def hashes(seed, i):
    """The hash of every index of an array."""
    with np.errstate(over="ignore"):
        x = np.asarray(i).astype(np.uint32) * np.uint32(2654435761) + np.uint32(seed * 40503 & 0xFFFFFFFF)
        x = (x ^ x >> np.uint32(15)) * np.uint32(2246822519)
        return x ^ x >> np.uint32(13)


def hash_one(seed, i):
    return int(hashes(seed, [i])[0])


def pattern(seed, n):
    return (hashes(seed, np.arange(n)) >> np.uint32(8)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def filled(shape, seed, plus=0.0, times=1.0):
    """plus + times·pattern, which repeats after PERIOD elements."""
    n = int(np.prod(shape))
    block = np.float32(plus) + np.float32(times) * pattern(seed, min(n, PERIOD))
    return np.resize(block, n).reshape(shape)


def weight(name, shape):
    """The contents of a model's parameter, by its checkpoint name."""
    seed = zlib.crc32(name.encode())
    if "norm" in name:
        return filled(shape, seed, 1, 0.1)
    if len(shape) == 1:
        return filled(shape, seed, 0, 0.02)
    return filled(shape, seed, 0, np.sqrt(3 / np.prod(shape[1:])))


def element(e, n):
    """The place of the element e of an answer about n."""
    return (0, n - 1)[e] if e < 2 else hash_one(5, e) % n


def distinct(count, n):
    return list(dict.fromkeys(element(e, n) for e in range(count)))


def combine(x):
    """The answer about one output: the weighted sum of all elements, and some."""
    x = np.ascontiguousarray(x).reshape(-1)
    weights = pattern(ANSWER, min(len(x), PERIOD)).astype(np.float64)
    total = 0.0
    for begin in range(0, len(x), PERIOD):
        part = x[begin : begin + PERIOD]
        total += float(np.dot(weights[: len(part)], part.astype(np.float64)))
    return [total] + [float(x[element(e, len(x))]) for e in range(ELEMENTS)]


def loss_targets(rows, vocab):
    """Of every row; and of few rows, −1 elsewhere, for a check."""
    every = (hashes(8, np.arange(rows)) % np.uint32(vocab)).astype(np.int64)
    few = np.full(rows, -1, np.int64)
    chosen = distinct(4, rows)
    few[chosen] = every[chosen]
    return every, few


class Batch:
    """One step's input, made as aimv2.NewBatch makes it from the same pictures
    and captions."""

    def __init__(self, image, patch, vocab, context, images, prefix, captions):
        b, p, side = len(images), patch, image // patch
        n, length = side * side, 3 * patch * patch
        self.images, self.prefix = images, np.asarray(prefix, np.int64)
        self.ids = np.full((b, context - 1), vocab - 1, np.int64)
        self.target = np.full((b, context), -1, np.int64)
        for i, caption in enumerate(captions):
            caption = caption[: context - 1]
            self.ids[i, : len(caption)] = self.target[i, : len(caption)] = caption
            self.target[i, len(caption)] = vocab - 1
        # [b, row, column, p, p, channel]: patches in raster order
        cut = images.astype(np.float64).reshape(b, 3, side, p, side, p).transpose(0, 2, 4, 3, 5, 1).reshape(b, n, length)[:, 1:]
        mean, var = cut.mean(-1, keepdims=True), cut.var(-1, ddof=1, keepdims=True)
        self.pixel_target = ((cut - mean) / np.sqrt(var + 1e-6)).astype(np.float32)
        counted = np.arange(1, n)[None, :] >= self.prefix[:, None]
        self.pixel_weight = (counted / (counted.sum() * length)).astype(np.float32)[..., None]


def step_batch(image, patch, vocab, context, batch):
    """The batch of a measured step."""
    n = (image // patch) ** 2
    prefix = [1 + hash_one(7, b) % (n - 1) for b in range(batch)]
    captions = []
    for b in range(batch):
        length = hash_one(8, b) % context
        captions.append((hashes(9, b * context + np.arange(length)) % np.uint32(vocab - 1)).astype(np.int64))
    return Batch(image, patch, vocab, context, filled((batch, 3, image, image), X, 0, 2), prefix, captions)


def trim():
    """Give memory that nothing uses back, so that what making and checking took
    does not count as the op's."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc
    except (AttributeError, OSError):
        pass


def serve(version, prepare):
    """Answer requests until standard input ends.

    prepare(op, arguments) returns (run, check): run() is a call; check() returns
    numbers, and arrays that are combined. What it does not do it refuses with an
    exception.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    asked, problem, seconds = None, None, 0.0
    for line in sys.stdin:
        f = line.split()
        try:
            if f == ["version"]:
                answer = version
            else:
                numbers = {"check": 1, "time": 2}[f[0]]
                if int(f[1]) != THREADS:
                    raise ValueError(f"this process has {THREADS} threads")
                if f[1 + numbers :] != asked:
                    asked, problem = None, None
                    trim()  # the next operands may be as large
                    problem = prepare(f[1 + numbers], f[2 + numbers :])
                    asked, seconds = f[1 + numbers :], 0.0
                run, check = problem
                if f[0] == "check":
                    values = []
                    for v in check():
                        values += combine(v) if np.ndim(v) else [float(v)]
                    answer = " ".join(repr(v) for v in values)
                    trim()
                else:
                    repetitions = int(f[2])
                    if seconds < 1:
                        run()  # wakes the threads
                    begin = time.perf_counter()
                    for _ in range(repetitions):
                        run()
                    elapsed = time.perf_counter() - begin
                    seconds = elapsed / repetitions
                    answer = f"{elapsed:.9g}"
            print("ok", answer, file=out, flush=True)
        except Exception as e:  # of a library, which may raise anything
            reason = " ".join(str(e).split()) or "no reason given"
            print("error", f"{type(e).__name__}: {reason}"[:300], file=out, flush=True)
