"""A measurement as a table for people. Its JSON body is made in stages/benchmarks.py."""

from collections.abc import Sequence
from typing import Any

HEADER = (
    "| way | median s | min - max | CPU s | per second | x naive | x strong | of the limit |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|"
)


def render(bodies: Sequence[dict[str, Any]]) -> str:
    """Markdown: a section for each measurement, in the order of the ids."""
    ordered = sorted(bodies, key=lambda body: str(body["id"]))
    return "\n\n".join(["# Benchmarks", *map(section, ordered)]) + "\n"


def section(body: dict[str, Any]) -> str:
    """One measurement: what it is, whether results are equal, rows, targets."""
    lines = [f"## {body['id'].upper()}. {body['description']}", "", computed(body), ""]
    lines += [HEADER, *map(row, body["rows"]), ""] if body["rows"] else []
    lines += [said(check, "<=") for check in body["checks"]]
    lines += [
        said(goal, "<=" if goal["is_at_most"] else ">=", "target")
        for goal in body["verdict"]["goals"]
    ]
    return "\n".join([*lines, *details(body)])


def computed(body: dict[str, Any]) -> str:
    """Where and how it was measured, in one sentence."""
    machine, probe = body["machine"], body["probe"]
    name = machine["gpu"] or machine["processor"]
    rates = ", ".join(
        f"{dtype} {probe[f'{dtype}_flops_per_second'] / 1e9:,.0f} GFLOP/s"
        for dtype in ("float32", "bfloat16")
    )
    small = "A quick run whose times mean nothing. " if body["is_small"] else ""
    return (
        f"{small}{name}, {machine['threads']} threads, torch {machine['torch']}; "
        f"{probe['bytes_per_second'] / 1e9:,.1f} GB/s, {rates}. "
        f"{body['items']:g} {body['unit']}, {body['rounds']} alternating rounds."
    )


def row(one: dict[str, Any]) -> str:
    """A way. A star: some of the items were timed and the time multiplied."""
    star = "" if one["measured_frac"] == 1 else " \\*"
    spread = f"{one['min_seconds']:.3g} - {one['max_seconds']:.3g}"
    return (
        f"| {one['way']}{star} | {one['median_seconds']:.3g} | {spread} "
        f"| {one['cpu_seconds']:.3g} | {one['items_per_second']:,.4g} "
        f"| {times(one['ratio_to_naive'])} | {times(one['ratio_to_strong'])} "
        f"| {share(one['limit_frac'])} |"
    )


def times(ratio: float | None) -> str:
    """A ratio of medians."""
    return "" if ratio is None else f"{ratio:.2f}"


def share(frac: float | None) -> str:
    """A share of the limit; empty where there is none."""
    return "" if frac is None else f"{frac:.1%}"


def said(one: dict[str, Any], sign: str, kind: str = "check") -> str:
    """A check or a target as a line of a list."""
    found, wanted = one.get("value", one.get("found")), one.get("limit", one.get("wanted"))
    word = "met" if one["is_met"] else "NOT MET"
    return f"- {kind}: {one['name']}: {shown(found)} ({sign} {wanted:.3g}) {word}"


def details(body: dict[str, Any]) -> list[str]:
    """Further numbers, by name; a list of rows as a row each."""
    lines = []
    for name, value in body["details"].items():
        rows = value.items() if isinstance(value, dict) else enumerate(value)
        for key, numbers in rows:
            told = ", ".join(f"{n} {shown(v)}" for n, v in numbers.items() if v is not None)
            lines.append(f"- {name}: {key}: {told}")
    return lines


def shown(value: Any) -> str:
    """A number with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
