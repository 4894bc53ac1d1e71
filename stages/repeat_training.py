"""Train again with other seeds, so that a difference can be held against the luck of training.

    data/{questions,questions_taught,synthetic, -> data/explanations_repeats.parquet
          synthetic_questions,fitness_reward}.parquet, models/base, scorers
                                                   reports/repeat_training.json

Each seed takes the steps of train_sft, sample_candidates, make_negatives, score_candidates
(the scorers of the reward only), build_preferences, train_dpo and explain_test, with the same
parameters and in one process; base, verifier, judge and synthetic texts stay. Only the answers to
the test questions are kept.

    dvc repro repeat_training
    dvc exp run -S 'repeat_training.seeds=[14,15,16,17]'
"""

import logging
from dataclasses import dataclass
from typing import Any

import pandas as pd

from schemas.errors import InputError
from schemas.explanations import Explanations
from schemas.fitness import Fitness
from schemas.questions import TAUGHT, Questions
from schemas.synthetic import Synthetic
from schemas.synthetic_questions import SyntheticQuestions
from stages.pure import pair_rules, rewards, synthetic_questions, synthetic_texts
from stages.pure.negative_table import make_negatives
from stages.pure.rewards import Reward
from stages.pure.scored import scoring
from stages.runtime.loading import checkpoints
from stages.runtime.loading.profile import Generation, Model, Training
from stages.runtime.run import Run, StageParams, stage_run, start
from stages.runtime.sampling import generation
from stages.runtime.sampling.drawing import Decoding
from stages.runtime.sampling.generation import Writer
from stages.scorers import registry
from stages.steps import candidates, dpo, explaining, sft


@dataclass(frozen=True)
class Params(StageParams):
    """params.yaml: repeat_training."""

    seeds: list[int]


@dataclass(frozen=True)
class Fixed:
    """What all seeds share."""

    questions: pd.DataFrame  # synthetic ones too
    synthetic: pd.DataFrame
    checks: pd.DataFrame  # Fitness of the reward verifier
    reward: Reward
    pairing: pair_rules.Settings
    model: Model
    tokenizer: Any
    taught: sft.Lessons
    tuning: dpo.Settings
    asked: pd.DataFrame  # test questions


def shared(run: Run[Params]) -> Fixed:
    """Read once what no seed changes."""
    settings = run.section(pair_rules.Settings, "build_preferences")
    declared = run.given["score_candidates"]["scorers"]
    pair_rules.check(settings, declared)
    named = rewards.reward_named(settings.reward, run.given["rewards"], declared)
    students, checks = run.read(Questions), run.read(Fitness, "reward")
    added = run.read(SyntheticQuestions)
    reward, left_out = pair_rules.usable(named, checks)
    if left_out:
        logging.warning(f"repeat_training: {left_out}. Reward: {rewards.formula(reward)}.")
    model, tuning = run.section(Model, "model"), run.section(dpo.Settings, "train_dpo")
    dpo.check(tuning)
    tokenizer = checkpoints.load_tokenizer(model)
    taught = synthetic_questions.joined(run.read(Questions, TAUGHT), added)
    return Fixed(
        synthetic_questions.joined(students, added),
        run.read(Synthetic),
        checks,
        reward,
        settings,
        model,
        tokenizer,
        sft.lessons(taught, run.section(sft.Settings, "train_sft"), tokenizer, model),
        tuning,
        explaining.asked_questions(
            students, run.given["explain_test"]["max_questions"], "repeat_training"
        ),
    )


def pairs_of(run: Run[Params], fixed: Fixed, writer: Writer, seed: int) -> pd.DataFrame:
    """Preferences from the samples of one policy."""
    sampling = run.section(candidates.Settings, "sample_candidates")
    drawn = candidates.candidates(writer, fixed.questions, sampling, seed)
    negatives = make_negatives(
        fixed.questions, drawn, run.given["make_negatives"]["negatives_per_question"]
    )
    made = synthetic_texts.joined(drawn, negatives, fixed.synthetic)
    texts = scoring.texts_to_score(fixed.questions, *made)
    names = {*fixed.reward.scorers, *fixed.pairing.refuse_chosen}
    scores = registry.score(texts, dict.fromkeys(names, "reward"))
    tables = fixed.questions, *made, scores
    return pair_rules.pair(fixed.pairing, fixed.reward, fixed.checks, tables).pairs


def train_once(run: Run[Params], fixed: Fixed, seed: int) -> tuple[pd.DataFrame, int]:
    """Explanations of SFT and DPO for one seed, and the number of pairs."""
    model, tokenizer = fixed.model, fixed.tokenizer
    decoding = run.section(Decoding, "decoding")
    size = run.section(Generation, "generation")
    policy, _ = sft.train(fixed.taught, tokenizer, model, run.section(Training, "sft"), seed)
    with generation.writing(policy, tokenizer, model, size) as writer:
        before = explaining.explain(writer, fixed.asked, decoding, "sft", seed)
        pairs = pairs_of(run, fixed, writer, seed)
    rows = dpo.encoded_pairs(tokenizer, fixed.questions, pairs, model)
    training = run.section(Training, "dpo")
    dpo.train(policy, tokenizer, rows, fixed.tuning, training, model, seed)
    with generation.writing(policy, tokenizer, model, size) as writer:
        after = explaining.explain(writer, fixed.asked, decoding, "dpo", seed)
    return pd.concat([before, after], ignore_index=True), len(rows)


def check_seeds(seeds: list[int], first: int) -> None:
    """Raise InputError for a seed that would be trained twice."""
    if len({*seeds, first}) != len(seeds) + 1:
        raise InputError(
            f"params.yaml: repeat_training.seeds: {seeds} repeats a seed, or `seed` ({first}), "
            "which the route itself trains. Name others."
        )


def main() -> None:
    """Train and explain with each of the other seeds."""
    with stage_run("repeat_training", Params) as run:
        seeds = run.params.seeds
        check_seeds(seeds, run.seed)
        if len(seeds) < 2:
            logging.warning(
                f"repeat_training: {1 + len(seeds)} training seed(s). Three or more are needed to "
                "say what a difference is worth over trainings."
            )
        fixed = shared(run)
        run.reads(*registry.folders(registry.SCORERS))  # whichever the reward asks; base included
        tables = [explaining.nothing()]
        sizes: dict[str, float] = {"seeds_n": 1 + len(seeds)}
        for seed in seeds:
            table, pairs_n = train_once(run, fixed, seed)
            tables.append(table)
            sizes[f"seed_{seed}_pairs_n"] = pairs_n
        run.write(Explanations, pd.concat(tables, ignore_index=True), "repeats")
        run.report(sizes)


if __name__ == "__main__":
    start(main)
