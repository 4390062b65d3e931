"""Writes the golden checkpoints and outputs of this folder:

    python aimv2/testdata/parity/make.py

needs torch, transformers (5.23.0 wrote the files) and safetensors. Each folder
holds a small random model as transformers saves it, golden.safetensors with an
input and what transformers computes of it layer by layer, and for LiT and the
fixed-size encoder ml-aim.safetensors: the same weights under ml-aim's names.
"""
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import Aimv2Config, Aimv2Model, Aimv2TextConfig, Aimv2VisionConfig, Aimv2VisionModel

HERE = pathlib.Path(__file__).parent
VISION = dict(hidden_size=16, intermediate_size=21, num_hidden_layers=3, num_attention_heads=2, patch_size=3, image_size=9)
TEXT = dict(hidden_size=12, intermediate_size=17, num_hidden_layers=2, num_attention_heads=3, vocab_size=31,
            max_position_embeddings=7, eos_token_id=29)


def draw(model, seed):
    """Sets weights so that no path is too faint to be seen."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        if "norm" in name:
            p.data = 1 + 0.3 * noise
        elif p.dim() > 1 and "embedding" not in name and "cls_token" not in name:
            p.data = noise / p[0].numel() ** 0.5
        elif p.dim() > 0:
            p.data = 0.5 * noise
    return model.eval()


def ml_aim(state, prefix=""):
    """Returns the state dict under the names of ml-aim's torch model."""
    def trunk(name, ours, theirs, out, t):
        rest = name.removeprefix(theirs)
        if rest == "rms_norm.weight":
            out[ours + "post_trunk_norm.weight"] = t
            return
        _, _, i, part = rest.split(".", 3)
        part = {"rms_norm1.weight": "norm_1.weight", "rms_norm2.weight": "norm_2.weight", "attention.out_proj.weight": "attn.proj.weight",
                "ffn.gate_proj.weight": "mlp.fc1.weight", "ffn.up_proj.weight": "mlp.fc3.weight", "ffn.down_proj.weight": "mlp.fc2.weight"}[part]
        out[f"{ours}blocks.{i}.{part}"] = t

    fixed = {"embeddings.patch_embed.weight": "preprocessor.patchifier.proj.weight", "embeddings.patch_embed.bias": "preprocessor.patchifier.proj.bias",
             "embeddings.rms_norm.weight": "preprocessor.patchifier.norm.weight", "head.cls_token": "head.cls_token", "head.k_proj.weight": "head.k.weight",
             "head.v_proj.weight": "head.v.weight", "head.output_proj.weight": "head.linear.weight", "head.output_proj.bias": "head.linear.bias"}
    lone = not any(k.startswith("vision_model.") for k in state)
    image = "" if lone else "image_encoder."
    out = {}
    for k, t in state.items():
        name = k if lone else k.removeprefix("vision_model.")
        if "attention.q_proj" in k:
            part = [state[k.replace("q_proj", c + "_proj")] for c in "qkv"]
            tower = image if lone or k.startswith("vision_model.") else "text_encoder."
            i = k.split("layers.")[1].split(".")[0]
            out[f"{tower}trunk.blocks.{i}.attn.qkv.weight"] = torch.cat(part)
        elif "attention.k_proj" in k or "attention.v_proj" in k:
            pass
        elif k == "text_model.embeddings.token_embedding.weight":
            out["text_encoder.preprocessor.text_embedding.weight"] = t
        elif k == "text_model.embeddings.position_embedding.weight":
            out["text_encoder.preprocessor.positional_embedding"] = t
        elif k.startswith("text_model."):
            trunk(k, "text_encoder.trunk.", "text_model.", out, t)
        elif k in ("visual_projection.weight", "text_projection.weight", "logit_scale"):
            out[{"visual_projection.weight": "image_projector.weight", "text_projection.weight": "text_projector.weight", "logit_scale": "log_logit_scale"}[k]] = t
        elif name == "embeddings.position_embedding.weight":
            out[image + "preprocessor.pos_embed"] = t[None]
        elif name in fixed:
            out[image + fixed[name]] = t
        else:
            trunk(k, image + "trunk.", "" if lone else "vision_model.", out, t)
    return {k: v.contiguous() for k, v in out.items()}


def save(folder, model, golden, with_ml_aim):
    out = HERE / folder
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out)
    save_file({k: v.detach().contiguous().clone() for k, v in golden.items()}, out / "golden.safetensors")
    if with_ml_aim:
        save_file(ml_aim(model.state_dict()), out / "ml-aim.safetensors", metadata={"format": "pt"})


def vision(folder, seed, height, width, **config):
    model = draw(Aimv2VisionModel(Aimv2VisionConfig(**VISION, **config)), seed)
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed + 100))
    y = model(images, output_hidden_states=True)
    golden = {"images": images, "last": y.last_hidden_state}
    golden |= {f"state.{i}": h for i, h in enumerate(y.hidden_states)}
    if not config["is_native"]:  # the table at other sizes, by torch's own interpolation
        table = model.embeddings.position_embedding.weight.T.reshape(1, -1, 3, 3)
        for h, w in ((5, 4), (2, 3)):
            t = torch.nn.functional.interpolate(table, size=(h, w), mode="bicubic", align_corners=False)
            golden[f"positions.{h}x{w}"] = t.reshape(16, h * w).T
    save(folder, model, golden, not config["is_native"])


def lit(folder, seed):
    config = Aimv2Config(text_config=Aimv2TextConfig(**TEXT).to_dict(), vision_config=Aimv2VisionConfig(**VISION).to_dict(), projection_dim=10)
    # transformers' text tower is causal only where it makes a mask: it does so if it
    # is given one, and its attention is "eager" (sdpa drops a mask of all ones).
    config._attn_implementation = "eager"
    model = draw(Aimv2Model(config), seed)
    images = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(seed + 100))
    # Rows that end early are padded with the EOS, the last by nothing.
    ids = torch.tensor([[28, 3, 4, 29, 29, 29, 29], [28, 29, 29, 29, 29, 29, 29], [28, 9, 8, 7, 6, 5, 29]])
    mask = torch.ones_like(ids)
    y = model(input_ids=ids, pixel_values=images, attention_mask=mask)
    t = model.text_model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    golden = {"images": images, "ids": ids.int(), "logits_per_image": y.logits_per_image, "text.last": t.last_hidden_state,
              "text.pooled": t.pooler_output, "image.pooled": y.vision_model_output.pooler_output,
              "image.unit": y.image_embeds, "text.unit": y.text_embeds}
    save(folder, model, golden, True)


vision("fixed", 1, 9, 9, is_native=False, use_head=False)
vision("native", 2, 7, 16, is_native=True, use_head=False)  # 2×5 patches; a row and a column of pixels are left over
lit("lit", 3)
