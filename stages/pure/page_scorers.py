"""The part of the page on verifier and judge: are they better than counting words?"""

from collections.abc import Mapping

from stages.pure import fitness, wording
from stages.pure.material import Material
from stages.pure.page_training import TRAININGS, metrics_table
from stages.pure.views import Findings, Section

SCORERS = ["train_verifier_reward", "train_verifier_judge"]
MEASURES = {  # metric of fitness.py -> unit, what the page calls it
    "pair_accuracy": ("frac", "pairs in order"),
    "spearman": ("corr", "rank correlation with the ratings"),
}


def scorers(material: Material) -> Section:
    """What verifier and judge are worth, beside the word count alone."""
    confidence = wording.level(fitness.LEVEL)
    caption = "On rated rows of the train split; none was learned from by the model that rates "
    caption += "it. The judge's features were chosen on train rows, the rows its fitness is "
    caption += "reported on, so its numbers may be too good. Small print is the "
    caption += f"{confidence} interval, from resampling clusters."
    found = {stage: material.reports[stage] for stage in SCORERS}
    return Section(
        "scorers",
        "Are the scorers better than counting words?",
        ["A scorer that does not beat the word count on ratings it has not seen adds nothing but "
         "a taste for length. The reward verifier chooses pairs; the judge only looks on."],
        findings=[
            finding(TRAININGS[stage], body["metrics"], confidence)
            for stage, body in found.items()
            if not isinstance(body, str)
        ],
        tables=[
            metrics_table(material, SCORERS, "Verifier and judge on held-out ratings", caption)
        ],
    )  # fmt: skip


def finding(title: str, numbers: Mapping[str, float], confidence: str) -> Findings:
    """One sentence per measure: does the scorer beat the word count?"""
    names, sentences = (title, "word count"), []
    for measure, (unit, label) in MEASURES.items():
        difference = f"{measure}_minus_words"
        row = {
            "mean_a": numbers.get(f"{measure}_{unit}"),
            "mean_b": numbers.get(f"words_{measure}_{unit}"),
            "difference": numbers.get(f"{difference}_{unit}"),
            "low": numbers.get(f"{difference}_low_{unit}"),
            "high": numbers.get(f"{difference}_high_{unit}"),
            "p_value_holm": None,
            "role": "heldout",
        }
        said = wording.compared(row, label, unit, names, confidence)
        sentences.append((wording.verdict(row)[1], said))
    return Findings(f"{title} against the word count", sentences)
