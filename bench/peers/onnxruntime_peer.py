"""ONNX Runtime as a peer of bench/cmd/compare: the encoder, exported from the
model in aimv2_torch.py."""

import os
import tempfile

import numpy as np
import onnxruntime
import torch

import aimv2_torch
import serve


def infer(image, patch, width, depth, heads, hidden, batch):
    image, batch = int(image), int(batch)
    encoder = aimv2_torch.build(lambda: aimv2_torch.Encoder(image, *map(int, (patch, width, depth, heads, hidden)))).eval()
    aimv2_torch.set_weights(encoder, "image_encoder.")
    images = serve.filled((batch, 3, image, image), serve.X, 0, 2)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = serve.THREADS, 1
    # Its workers would spin on while another program is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "encoder.onnx")
        torch.onnx.export(encoder, (torch.from_numpy(images),), file, dynamo=True, external_data=True, verbose=False)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images}
    run = lambda: session.run(None, feed)
    return run, lambda: [np.asarray(run()[0])]


def prepare(op, arguments):
    return {"infer": infer}[op](*arguments)


if __name__ == "__main__":
    torch.set_num_threads(serve.THREADS)
    serve.serve(f"ONNX Runtime {onnxruntime.__version__}", prepare)
