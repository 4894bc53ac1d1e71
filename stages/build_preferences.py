"""Turn scored texts into preference pairs for DPO.

    data/{questions,synthetic_questions,candidates,negatives, -> data/preferences.parquet,
          synthetic,scores,fitness_reward}.parquet               drops.parquet
                                                               reports/build_preferences.json

The reward is a formula over scorers (params.yaml: rewards), less what it gives to length. A
verifier that failed its gate (check_verifier) is left out of it; where nothing remains, the
stage fails. Two texts of one question make a pair when their rewards are far enough apart:
below a scorer's own error the order is chance. `strategy` says which of those pairs are
taken. Held-out scorers are not read. What is in no pair is in `drops`, with its reason.

    dvc repro build_preferences
    dvc exp run -S build_preferences.reward=h_m -S build_preferences.strategy=best_worst
"""

import logging
from dataclasses import dataclass

import pandas as pd

from schemas.candidates import Candidates
from schemas.drops import Drops
from schemas.errors import InputError
from schemas.fitness import Fitness
from schemas.negatives import Negatives
from schemas.preferences import Preferences
from schemas.questions import Questions
from schemas.scores import Scores
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import pair_rules, pairing, rewards, synthetic_questions, synthetic_texts
from stages.pure.sql import query
from stages.runtime.params import StageParams
from stages.runtime.run import stage_run, start


@dataclass(frozen=True)
class Params(StageParams, pair_rules.Settings):
    """params.yaml: build_preferences. Units and sources are commented there."""


def check_split(pairs: pd.DataFrame, questions: pd.DataFrame) -> None:
    """Raise InputError if a pair is of a question, or of a cluster, outside the train split."""
    rows = pairs[["question_id", "cluster_id"]].assign(table_name="preferences")
    leaks = query("leaks", {"rows": rows, "questions": questions})
    if len(leaks):
        raise InputError(
            f"question {leaks.question_id[0]} of data/preferences.parquet: its cluster is in split "
            f"'{leaks.split[0]}', not train ({leaks.question_id.nunique()} such questions). "
            "Run `dvc repro sample_candidates`."
        )


def main() -> None:
    """Read, compute, write, report."""
    with stage_run("build_preferences", Params) as run:
        asked = run.given["score_candidates"]["scorers"]
        pair_rules.check(run.params, asked)
        named = rewards.reward_named(run.params.reward, run.given["rewards"], asked)
        students, checks = run.read(Questions), run.read(Fitness, "reward")
        added = run.read(SyntheticQuestions)
        questions = synthetic_questions.joined(students, added)
        reward, left_out = pair_rules.usable(named, checks)
        if left_out:
            logging.warning(f"build_preferences: {left_out}. Reward: {rewards.formula(reward)}.")
        synthetic = run.read(Synthetic)
        texts = synthetic_texts.joined(run.read(Candidates), run.read(Negatives), synthetic)
        made = pair_rules.pair(run.params, reward, checks, (questions, *texts, run.read(Scores)))
        paired = pairing.drop_texts(made.texts, made.pairs, made.picked, made.rule)
        drops = synthetic_texts.below(paired, synthetic_texts.unusable(synthetic))
        drops = synthetic_texts.below(drops, synthetic_questions.unusable(added))
        check_split(made.pairs, questions)
        run.write(Preferences, made.pairs)
        run.write(Drops, drops)
        numbers = pairing.summarize(made.texts, made.pairs)
        numbers |= {"length_slope_score": made.length_slope, "min_gap_score": made.rule.min_gap}
        told = {"words": rewards.formula(reward), "unit": reward.unit, "scorers": reward.scorers}
        details = {"reward": told | {"left_out": left_out}, "strategy": made.rule.strategy}
        run.report(numbers, details | pairing.tabulate(made.pairs, drops))


if __name__ == "__main__":
    start(main)
