"""Writes sentencepiece/ with sentencepiece 0.2.3 and transformers 5.23.0:

    python3 sentencepiece_models.py ../../dataset/emoji48/index.jsonl.gz

Three small models are trained on captions: unigram.model with the settings of
T5's English vocabulary, which is SigLIP's (unigram, nmt_nfkc, pad 0, </s> 1,
<unk> 2, no <s>), bytes.model the same with byte fallback, symbols of the user and
no table of NFKC, bpe.model by pairs. ids.json is what sentencepiece makes of texts.py by each
model, what transformers' SiglipTokenizer does ("siglip"), and what the pieces of
sentencepiece decode to ("text").
"""
import gzip, json, sys
from pathlib import Path
import sentencepiece as spm
from transformers import SiglipTokenizer
from texts import TEXTS, golden, write

here = Path(__file__).parent / "sentencepiece"
lines = sorted({json.loads(l)["c"] for l in gzip.open(sys.argv[1])})
lines += [l.lower() for l in lines] + ["a photo of a " + l.lower() for l in lines]
T5 = dict(
    sentence_iterator=None, normalization_rule_name="nmt_nfkc", character_coverage=0.9995, hard_vocab_limit=False,
    pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", num_threads=1, minloglevel=2,
)


def train(name, **settings):
    settings = {**T5, **settings, "sentence_iterator": iter(lines)}
    spm.SentencePieceTrainer.train(model_prefix=str(here / name), **settings)
    (here / (name + ".vocab")).unlink()
    model = spm.SentencePieceProcessor(model_file=str(here / (name + ".model")))
    ids = [model.encode(t) for t in TEXTS]
    return {"ids": [golden(i) for i in ids], "text": [model.decode(i)[:400] for i in ids]}


out = {
    "unigram": train("unigram", model_type="unigram", vocab_size=1000),
    "bytes": train("bytes", model_type="unigram", vocab_size=900, byte_fallback=True, normalization_rule_name="identity", user_defined_symbols=["heart-", "\u2581\U0001f98a"]),
    "bpe": train("bpe", model_type="bpe", vocab_size=900, normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True),
}
for name in ["unigram", "bytes"]:
    tok = SiglipTokenizer(str(here / (name + ".model")))
    out["siglip " + name] = {
        "ids": [golden(tok(t).input_ids) for t in TEXTS],
        "padded": [tok(t, max_length=64, truncation=True, padding="max_length").input_ids for t in TEXTS],
    }
for path in here.glob("*.model"):  # most is the table of NFKC
    path.with_suffix(".model.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()
write(here / "ids.json", out)
