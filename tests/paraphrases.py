"""Questions of the sample course, and the same questions in other words with other options.

Written for the leakage check: MinHash compares words, so it takes each pair for two questions.
"""

from typing import Any

import pandas as pd

from stages.pure import clusters
from tests import invented

# asked, key, other options; asked in other words, key in other words, other options
PARAPHRASES = [
    (
        ("Which part of a typical animal cell makes most of its ATP?",
         "mitochondrion", ["lysosome", "ribosome", "nucleus"]),
        ("Most ATP of animal cells is produced inside which organelle?",
         "the mitochondria", ["the cytoskeleton", "the Golgi body", "the membrane"]),
    ),
    (
        ("At which point of the cell cycle is the DNA copied?",
         "S phase", ["M phase", "G1 phase", "cytokinesis"]),
        ("Replication of a cell's genome takes place in what phase of its life cycle?",
         "S phase", ["mitosis", "G0 phase", "anaphase"]),
    ),
    (
        ("During what process do homologous chromosomes swap pieces of DNA?",
         "crossing over", ["translation", "transcription", "splicing"]),
        ("How is the exchange of genetic segments between paired chromosomes called?",
         "crossing-over", ["mutation", "binary fission", "cloning"]),
    ),
    (
        ("Which caps protect the ends of chromosomes from wear?",
         "telomeres", ["centromeres", "histones", "plasmids"]),
        ("The tips of a chromosome are kept from fraying by what structures?",
         "telomeres", ["operons", "spindles", "kinetochores"]),
    ),
    (
        ("Through what vessels does blood leave the heart under high pressure?",
         "arteries", ["veins", "capillaries", "venules"]),
        ("High-pressure blood is carried away from the heart in which kind of vessel?",
         "an artery", ["a sinus", "a lymph duct", "a vein"]),
    ),
    (
        ("Human skin in sunlight makes what useful nutrient?",
         "vitamin D", ["vitamin C", "vitamin A", "iodine"]),
        ("Which vitamin is produced by our skin when the sun shines on it?",
         "vitamin D", ["folic acid", "biotin", "niacin"]),
    ),
    (
        ("Dead leaves are turned back into soil nutrients by whom?",
         "decomposers", ["herbivores", "producers", "pollinators"]),
        ("Which organisms break down fallen foliage and return its nutrients to the ground?",
         "decomposers", ["grazers", "top predators", "parasites"]),
    ),
    (
        ("With what enzyme does HIV copy its RNA into DNA?",
         "reverse transcriptase", ["helicase", "DNA ligase", "integrase"]),
        ("HIV turns its RNA genome into DNA; name the enzyme responsible.",
         "reverse transcriptase", ["RNA polymerase", "protease", "primase"]),
    ),
    (
        ("What metal at the heart of haemoglobin binds oxygen?",
         "iron", ["zinc", "copper", "lead"]),
        ("Oxygen is held in haemoglobin by an atom of which metal?",
         "iron", ["magnesium", "cobalt", "nickel"]),
    ),
    (
        ("What defence says the accused was somewhere else when the crime happened?",
         "alibi", ["duress", "insanity", "consent"]),
        ("A defendant claims to have been in another place at the time of the offence: "
         "what is this called?",
         "an alibi", ["necessity", "automatism", "self-defence"]),
    ),
    (
        ("Where in the body is bile stored between meals?",
         "gallbladder", ["liver", "spleen", "pancreas"]),
        ("Between meals, which organ holds the bile?",
         "gall bladder", ["stomach", "colon", "appendix"]),
    ),
    (
        ("Which cancer grows from the pigment cells of the skin?",
         "melanoma", ["lymphoma", "sarcoma", "glioma"]),
        ("A malignant tumour of melanocytes is named what?",
         "melanoma", ["carcinoma", "leukemia", "myeloma"]),
    ),
]  # fmt: skip


def row(number: int, asked: tuple[str, str, list[str]], split: str) -> tuple[Any, ...]:
    """A row of `questions` about it."""
    stem, key, others = asked
    name = clusters.question_id(stem, [key, *others], key)
    options = (key, *others, None, 4, "A")
    identity = (f"a/{number}", name, f"c{name}", split, 0, "a")
    text = f"An explanation with more than ten words that is about {number} alone."
    rated = (3.0, 12, "question", True, True, None)
    return (*identity, stem, *options, text, len(text.split()), *rated)


def questions(*asked: tuple[tuple[str, str, list[str]], str]) -> pd.DataFrame:
    """A table of questions from (question, split)."""
    from schemas.questions import Questions

    return invented.table(Questions, [row(i, *one) for i, one in enumerate(asked)])
