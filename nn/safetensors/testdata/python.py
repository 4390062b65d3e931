"""Writes python.safetensors, the file that TestReadsPython reads:

    pip install safetensors==0.8.0 numpy==2.4.6 && python python.py

With a path as argument it checks instead a file that TestWriteForPython wrote:

    FUERTE_SAFETENSORS_OUT=/tmp/go.safetensors go test -run TestWriteForPython ..
    python python.py /tmp/go.safetensors
"""

import pathlib
import sys

import numpy as np
from safetensors import TensorSpec, safe_open, serialize_file

NUMBERS = [0.0, -1.5, 3.140625, 65504.0, -0.000030517578125, 1.0]  # exact in F16
BF16 = [0.0, -1.5, 3.140625, 65536.0, -0.000030517578125, 1.0]  # exact in BF16
METADATA = {"format": "pt", "note": "olé"}


def bf16(values):
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


tensors = {  # name: (dtype, NumPy array of those bits)
    "f64": ("float64", np.array(NUMBERS, np.float64).reshape(2, 3)),
    "f32": ("float32", np.array(NUMBERS, np.float32).reshape(2, 3)),
    "f16": ("float16", np.array(NUMBERS, np.float16).reshape(2, 3)),
    "bf16": ("bfloat16", bf16(BF16).reshape(2, 3)),
    "i64": ("int64", np.array([-1, 2**40], np.int64)),
    "u8": ("uint8", np.array([1, 2, 255], np.uint8)),
    "bool": ("bool", np.array([True, False])),
    "scalar": ("float32", np.array(2.5, np.float32)),
    "empty": ("float32", np.zeros((0, 4), np.float32)),
}

if len(sys.argv) == 1:
    serialize_file(
        {
            name: TensorSpec(dtype=dtype, shape=a.shape, data_ptr=a.ctypes.data, data_len=a.nbytes)
            for name, (dtype, a) in tensors.items()
        },
        str(pathlib.Path(__file__).with_suffix(".safetensors")),
        METADATA,
    )
else:
    names = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "uint8": "U8", "bool": "BOOL"}
    with safe_open(sys.argv[1], "np") as f:
        assert f.metadata() == METADATA, f.metadata()
        assert set(f.keys()) == set(tensors), f.keys()
        for name, (dtype, want) in tensors.items():
            part = f.get_slice(name)
            assert part.get_dtype() == names[dtype], (name, part.get_dtype())
            assert part.get_shape() == list(want.shape), (name, part.get_shape())
            if dtype != "bfloat16":  # NumPy has none
                got = f.get_tensor(name)
                assert got.dtype == want.dtype and got.tobytes() == want.tobytes(), (name, got, want)
    print("ok")
