"""The texts whose ids the golden files of this folder hold."""

control = "".join(chr(b) + "a" for b in range(32)) + "\x7f"
marks = "a" + "\u0301\u0323\u0300\u0302" * 5  # many marks on one letter
TEXTS = [
    "", " ", "\t\n\u00a0\u2003", "The  FOX", " leading and trailing ", "a photo of a cat", "A photo of the number: 7.",
    "don't they'll we've I'm she'd it's you're", "'S 'Re x'y ''s", "O'Clock o\u2019clock \u201cquoted\u201d \u2026 \u2014 \u2013",
    "123 4.5 1st \u00bd \u00b2 \u2167 \u0663 \u4e00\u4e8c \U0001d7d9\U0001d7da", "\u00c4\u00d6\u00dc \u00df \u1e9e \u00c9\u00c7\u00d1 caf\u00e9 cafe\u0301",
    "e\u0301 A\u030a \u1100\u1161 x\u0302 " + marks, "\u0130stanbul \u0131I", "\u01c4 \u0149 \ufb01 \ufb03 \uff26\uff55\uff4c\uff4c \u2460 \u3392 \ufdfa",
    "\u039f\u0394\u039f\u03a3 \u03a3 \u03a3\u0391\u03a3. a\u03a3b \u039f\u03a3\u0301",
    "\U0001f98a fox\U0001f98afox \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e8\U0001f1f1 \u263a\ufe0f \U0001f44d\U0001f3fd #\ufe0f\u20e3",
    "\u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u202eright to left\u202c \u200fmark\u200e \u2066isolated\u2069", "\u041f\u0440\u0438\u0432\u0435\u0442 \u041c\u0418\u0420",
    "--- ... !?!? <|> </w> a</w>b", "_under_score_ x\u00b2y", "\ufffd \ue000 \U0010fffd \ufeff \uffff",
    "zero\u200bwidth joi\u200dner non\u200cjoiner soft\u00adhyphen word\u2060joiner", control, "\x1c\x1d\x1e\x1f\x85\u2028\u2029\u3000", "nul\x00byte",
    "\u017fs '\u017f \u212a \u212b", "<|endoftext|>", "a<|endoftext|>B <|startoftext|> c", "<|ENDOFTEXT|> !!<|EndOfText|>!! <|endoftext x<|StartOfText|>y",
    "</s>", "a</s>b </s> c", "a  </s>", "<unk> <UNK> </S> <pad> <s>", "\u2581 \u2581a\u2581\u2581b \u2581", "HTML &amp; &lt;b&gt; caf&eacute;",
    "zzz azbzzz zzzzz couch and lamp ZZZwoman \u01f9old woman rabbit ZZZ",  # ties: z zz or zz z
    "{curly} [square] (round) ^caret` ~tilde| back\\slash $5 50% a@b.c #tag +1 = 2 * 3 / 4; k:v", "a" * 300, "ab " * 100,
    ("smiling face with heart-eyes " * 345)[:10000], ("abracadabra" * 910)[:10000], ("\u65e5\u672c\U0001f98a " * 2500)[:1000],
]


def golden(ids):
    """Ids as ids.json holds them: those of a long text as their number and the SHA-256 of their decimals with spaces."""
    import hashlib
    if len(ids) <= 400:
        return ids
    return "%d %s" % (len(ids), hashlib.sha256(" ".join(map(str, ids)).encode()).hexdigest())


def write(path, golden_by_name):
    """Writes {"texts": […], name: {"ids": […], …}}, each list in the order of the texts."""
    import json
    lines = ['"texts":[\n' + ",\n".join(json.dumps(t) for t in TEXTS) + "]"]
    for name, kinds in golden_by_name.items():
        rows = [json.dumps(k) + ":[\n" + ",\n".join(json.dumps(v, separators=(",", ":")) for v in values) + "]" for k, values in kinds.items()]
        lines.append(json.dumps(name) + ":{" + ",\n".join(rows) + "}")
    path.write_text("{" + ",\n".join(lines) + "}\n")
