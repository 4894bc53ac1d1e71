"""Let the SFT policy explain train questions, several times each, and add the students' texts.

    data/questions.parquet (train), models/sft -> data/candidates.parquet

One sample per temperature in `temperatures`; low ones give likely texts, high ones variety.
Questions are drawn by a hash of their id, so that adding rows changes little of the choice.

    dvc repro sample_candidates
    python -m stages.sample_candidates
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.candidates import Candidates
from schemas.errors import InputError
from schemas.questions import Questions
from stages.pure.prompts import distinct_questions, render_prompt
from stages.runtime import checkpoints
from stages.runtime.generation import Decoding, load_writer
from stages.runtime.profile import Generation, Model
from stages.runtime.run import Run, StageParams, stage_run, start

POLICY = Path("models/sft")


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: sample_candidates."""

    max_questions: int | None
    temperatures: list[float]
    top_p: float
    top_k: int
    repetition_penalty: float


def choose(questions: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """The train questions to sample for: the first `limit` by a hash of their id."""
    train = questions[questions.split == "train"]
    order = train.question_id.map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    chosen = train.loc[order.sort_values(kind="stable").index[:limit]]
    return chosen.sort_values("question_id", ignore_index=True)


def sample(run: Run[Params], questions: pd.DataFrame) -> list[dict[str, Any]]:
    """One candidate per question and temperature."""
    model, size = run.section(Model, "model"), run.section(Generation, "generation")
    writer = load_writer(model, size, POLICY)
    prompts = [render_prompt(row) for row in questions.to_dict("records")]
    rows = []
    for index, temperature in enumerate(run.params.temperatures):
        decoding = Decoding(
            temperature, run.params.top_k, run.params.top_p, run.params.repetition_penalty
        )
        # the label names the seeds, so one more temperature leaves the other samples alone
        answers = writer.answer(prompts, decoding, run.seed, f"sample {index + 1}")
        for question_id, answer in zip(questions.question_id, answers, strict=True):
            row = {"question_id": question_id, "candidate_index": index, "origin": "sft"}
            row |= {"row_id": None, "temperature": temperature, "seed": answer.seed}
            row |= {"explanation": answer.text, "tokens_n": answer.tokens_n}
            rows.append(row | {"is_stopped": answer.is_stopped})
    return rows


def student_texts(run: Run[Params], rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The students' own explanations, numbered on after the samples."""
    tokenizer = checkpoints.load_tokenizer(run.section(Model, "model"))
    ordered = rows.sort_values(["question_id", "row_id"])
    place = ordered.groupby("question_id").cumcount() + len(run.params.temperatures)
    return [
        {
            "question_id": row["question_id"],
            "candidate_index": int(index),
            "origin": "student",
            "row_id": row["row_id"],
            "temperature": None,
            "seed": -1,
            "explanation": row["explanation"],
            "tokens_n": len(checkpoints.encode_text(tokenizer, row["explanation"])),
            "is_stopped": True,
        }
        for row, index in zip(ordered.to_dict("records"), place, strict=True)
    ]


def main() -> None:
    """Sample candidates for the train questions."""
    with stage_run("sample_candidates", Params) as run:
        rows = run.read(Questions)
        run.reads(checkpoints.BASE_DIR, POLICY)
        questions = choose(distinct_questions(rows), run.params.max_questions)
        if questions.empty or not run.params.temperatures:
            raise InputError(
                f"sample_candidates: {len(questions)} train questions and "
                f"{len(run.params.temperatures)} temperatures give no sample. Raise max_questions "
                "or name temperatures."
            )
        sampled = sample(run, questions)
        students = student_texts(run, rows[rows.question_id.isin(questions.question_id)])
        candidates = pd.DataFrame(sampled + students).astype({"temperature": float})
        run.write(Candidates, candidates)
        ours = candidates[candidates.origin == "sft"]
        run.report(
            {
                "questions_n": len(questions),
                "candidates_n": len(candidates),
                "sampled_n": len(ours),
                "stopped_frac": float(ours.is_stopped.mean()),
                "distinct_frac": float(len(ours.drop_duplicates(["question_id", "explanation"])))
                / len(ours),
                "sampled_mean_words": float(ours.explanation.str.split().map(len).mean()),
            }
        )


if __name__ == "__main__":
    start(main)
