"""Writes cider.json: captions, references, and the scores of pycocoevalcap 1.2.

    pip install --no-deps pycocoevalcap==1.2 numpy
    python cider.py > cider.json

CiderScorer is called directly: its tokenizer, which needs Java, has no part in it,
and the words are those that a space parts.
"""

import json
import random

from pycocoevalcap.cider.cider_scorer import CiderScorer

sets = [
    [("a red fox", ["a red fox"]), ("a cat", ["a dog"])],
    [
        ("a red fox jumps over the lazy dog", ["the red fox jumps over a lazy dog", "a fox jumps"]),
        ("the the the the", ["the cat sat on the mat", "a cat on the mat"]),
        ("", ["nothing here"]),
        ("one", ["one", "one two", "two"]),
        ("completely different words in this very long caption of the picture at hand", ["short one"]),
    ],
    [("fox", ["fox"])],
]
r = random.Random(1)
vocabulary = ["a", "the", "cat", "dog", "runs", "red", "on", "mat", "big", "sees"]
sets.append(
    [
        (
            " ".join(r.choices(vocabulary, k=r.randint(1, 14))),
            [" ".join(r.choices(vocabulary, k=r.randint(1, 14))) for _ in range(r.randint(1, 5))],
        )
        for _ in range(40)
    ]
)

out = []
for pairs in sets:
    scorer = CiderScorer(n=4, sigma=6.0)
    for caption, references in pairs:
        scorer += (caption, references)
    mean, scores = scorer.compute_score()
    out.append(
        {
            "captions": [c for c, _ in pairs],
            "references": [refs for _, refs in pairs],
            "scores": [float(s) for s in scores],
            "mean": float(mean),
        }
    )
print(json.dumps(out, indent=1))
