"""Section 6 of the page: how was it made, and how is it made again?"""

import re
from collections.abc import Mapping
from typing import Any

from stages.pure.page import training, wording
from stages.pure.page.material import Material
from stages.pure.page.views import Missing, Part, Section, Table, cells

PROFILE = [
    "base",
    "dpo",
    "encoder",
    "generation",
    "model",
    "reading",
    "sft",
    "students",
    "verifier",
]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==(\S+)")
NEEDED = "# what these need"  # the heading in requirements.txt below which nothing is ours
COMMANDS = {
    "Everything again": "dvc repro",
    "This page again": "dvc repro report",
    "Another value": "dvc exp run -S train_dpo.beta=0.2",
    "A sweep of pair rules and betas": (
        "dvc exp run --queue -S 'train_dpo.beta=0.05,0.2' "
        "-S 'build_preferences.min_score_gap=0.3,0.6' && dvc queue start"
    ),
    "The sweep side by side": "dvc exp show --md",
    "Ready-made questions to the tables": "python -m stages.query --list",
    "Why candidates are in no pair": (
        'python -m stages.query "select reason, count(*) texts_n from drops group by reason"'
    ),
    "All scores of the candidates of one question": (
        'python -m stages.query "select candidate_index, scorer, role, value, reason '
        "from scores where question_id = 'ID'\""
    ),
}


def made(material: Material) -> Section:
    """Commands, digests, versions, parameters, training logs, and every reported number."""
    return Section(
        "made",
        "How was it made?",
        [
            Part("Commands", tables=[command_table()]),
            Part(
                "Digests",
                ["A digest is the one that dvc.lock holds: the same digest means the same bytes."],
                folded=[word_table("Models and tables by digest", "", "Digest", material.digests)],
            ),
            Part("Versions", folded=[version_table(material.pins)]),
            Part("Parameters", folded=settings(material.given)),
            training.training(material),
            Part(
                "Every number that a stage reported",
                folded=[
                    training.metrics_table(material, [stage], f"Numbers of {stage}")
                    for stage in sorted(material.reports)
                ],
                is_folded=True,
            ),
        ],
    )


def word_table(title: str, caption: str, head: str, values: Mapping[str, str]) -> Table:
    """Names and what stands beside them, sorted by name."""
    rows = [(name, cells([value])) for name, value in sorted(values.items())]
    return Table(title, caption, ["Name", head], rows, style="words")


def command_table() -> Table:
    """What to type for what."""
    rows = [(what, cells([command])) for what, command in COMMANDS.items()]
    caption = "In a checkout of the repository with the pinned versions; make repro installs them."
    return Table("Commands", caption, ["To get", "Command"], rows, style="words code")


def version_table(pins: Mapping[str, str]) -> Table | Missing:
    """The pinned version of every library that the project asks for by name."""
    title = "Libraries by version"
    if not pins:
        return Missing(title, "requirements.txt is missing or pins nothing")
    return word_table(title, "As pinned in requirements.txt.", "Version", pins)


def read_pins(requirements: str) -> dict[str, str]:
    """The text of requirements.txt -> library -> version, without what those need in turn."""
    asked = requirements.split(NEEDED)[0]
    found = (PIN.match(line.strip()) for line in asked.splitlines())
    return {match[1]: match[2] for match in found if match}


def settings(given: Mapping[str, Any]) -> list[Table]:
    """What decides results (params.yaml), and what the hardware decides (the profile)."""

    def table(title: str, caption: str, wanted: Mapping[str, Any]) -> Table:
        rows = [(name, cells([value])) for name, value in flatten(wanted)]
        return Table(title, caption, ["Parameter", "Value"], rows, style="words")

    profile = given.get("profile", "")
    science = {name: value for name, value in given.items() if name not in PROFILE}
    hardware = {name: value for name, value in given.items() if name in PROFILE}
    return [
        table("All parameters", "From params.yaml.", science),
        table("All values of the profile", f"From stages/profiles/{profile}.yaml.", hardware),
    ]


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters as dotted names, sorted."""
    rows: list[tuple[str, str]] = []
    for name in sorted(values):
        value = values[name]
        if isinstance(value, Mapping) and value:
            rows += flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, wording.as_text(value)))
    return rows
