"""Writes clip/ with transformers 5.23.0 and tokenizers 0.23.3:

    python3 clip.py bpe_simple_vocab_16e6.txt.gz

The argument is CLIP's vocabulary (OpenAI, MIT), which the PyPI package
open_clip_torch 3.3.0 carries. vocab.json and merges.txt are its bytes, its first
1,000 merges and the special tokens; ids.json is what transformers' CLIPTokenizer
makes of texts.py by them ("excerpt") and by the whole vocabulary ("whole").
"""
import gzip, json, sys
from pathlib import Path
from transformers import CLIPTokenizer
from texts import TEXTS, golden, write

here = Path(__file__).parent / "clip"
merges = gzip.open(sys.argv[1]).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]


def tokenizer(merges):
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = alphabet + [c + "</w>" for c in alphabet] + [m.replace(" ", "") for m in merges]
    vocab = {t: i for i, t in enumerate(tokens + ["<|startoftext|>", "<|endoftext|>"])}
    return vocab, CLIPTokenizer(vocab=vocab, merges=[tuple(m.split()) for m in merges])


def ids(tok):
    return {
        "ids": [golden(tok(t).input_ids) for t in TEXTS],
        "padded": [tok(t, max_length=77, truncation=True, padding="max_length").input_ids for t in TEXTS],
    }


vocab, excerpt = tokenizer(merges[:1000])
(here / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, separators=(",", ":")))
(here / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges[:1000]) + "\n")
excerpt.backend_tokenizer.save(str(here / "tokenizer.json"), pretty=False)
whole = tokenizer(merges)[1]
assert whole("Hi there").input_ids == [49406, 1883, 997, 49407]
write(here / "ids.json", {"excerpt": ids(excerpt), "whole": ids(whole)})
