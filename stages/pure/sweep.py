"""Experiments of a sweep -> one table: what each rule does on the validation split."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SWEPT = ("build_preferences.", "rewards.", "sample_candidates.", "make_negatives.", "train_dpo.")
HEAD = ["rule", "settings", "pairs", "oracle, SFT", "oracle, DPO", "difference", "judge (stars)"]
HEAD += ["words", "loops", "stops", "log p(chosen)"]


@dataclass(frozen=True)
class Experiment:
    """One row of `dvc exp show`."""

    name: str
    values: Mapping[str, Any]  # parameters and metrics by their column

    def metric(self, stage: str, name: str) -> float | None:
        """A number of reports/<stage>.json; None if the experiment has none.

        DVC names the file in a column only where two files have the name.
        """
        for column in (f"reports/{stage}.json:metrics.{name}", f"metrics.{name}"):
            value = self.values.get(column)
            if value not in (None, "", "-", "!"):
                return float(value)
        return None


def settings(experiment: Experiment, baseline: Experiment) -> str:
    """What the experiment sets otherwise than the baseline, e.g. `train_dpo.beta=0.1`."""
    changed = [
        f"{name.removeprefix('build_preferences.')}={experiment.values[name]}"
        for name in sorted(experiment.values)
        if name.startswith(SWEPT) and experiment.values[name] != baseline.values.get(name)
    ]
    return ", ".join(changed) or "as in params.yaml"


def shown(value: float | None, form: str, scale: float = 1.0) -> str:
    """A number, or a dash for none."""
    return "–" if value is None else format(scale * value, form)


def cells(experiment: Experiment, baseline: Experiment) -> list[str]:
    """One row of the table, in the order of HEAD."""

    def seen(name: str) -> float | None:
        return experiment.metric("validate", name)

    low, high = seen("low_oracle_frac"), seen("high_oracle_frac")
    first, last = (experiment.metric("train_dpo", f"logps_chosen_{end}_nats") for end in ENDS)
    change = shown(seen("difference_oracle_frac"), "+.1f", 100)
    return [
        experiment.name,
        settings(experiment, baseline),
        shown(experiment.metric("build_preferences", "pairs_n"), ".0f"),
        shown(seen("sft_oracle_frac"), ".0f", 100) + " %",
        shown(seen("dpo_oracle_frac"), ".0f", 100) + " %",
        f"{change} ({shown(low, '+.1f', 100)} to {shown(high, '+.1f', 100)})",
        shown(seen("difference_judge_stars"), "+.2f"),
        shown(seen("difference_words"), "+.1f"),
        shown(seen("dpo_is_loop_frac"), ".1f", 100) + " %",
        shown(seen("dpo_stopped_frac"), ".0f", 100) + " %",
        f"{shown(first, '.1f')} to {shown(last, '.1f')}",
    ]


ENDS = ("first", "last")


def table(experiments: Sequence[Experiment], baseline: Experiment) -> str:
    """Markdown: one line per experiment that was validated, by name; the baseline last."""
    known = [e for e in experiments if e.metric("validate", "questions_n") is not None]
    rows = [cells(e, baseline) for e in sorted(known, key=lambda e: e.name)]
    lines = [HEAD, ["---"] * len(HEAD), *rows, cells(baseline, baseline)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
