"""What a page is made of: tables, figures, and the honest gap."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell: the number, a smaller note below it, and a tone (up, down, flat or none)."""

    text: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Table:
    """head[0] names the first column; each row starts with its own name."""

    title: str
    caption: str  # what the title does not say
    head: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    note: str = ""  # below the table
    style: str = ""  # "words" or "words code": cells of text, not of numbers
    kind: str = "table"


@dataclass(frozen=True)
class Figure:
    """svg is complete markup; `description` says in words what the picture shows."""

    caption: str
    description: str
    svg: str
    kind: str = "figure"


@dataclass(frozen=True)
class Missing:
    """Something that the page should show and cannot."""

    what: str
    why: str
    kind: str = "missing"


@dataclass(frozen=True)
class Findings:
    """What one comparison says: tone and sentence each."""

    title: str
    sentences: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Part:
    """One subject of a section: what is said, what is always shown, and what unfolds."""

    title: str
    paragraphs: Sequence[str] = ()
    findings: Sequence[Findings] = ()
    figures: Sequence[Figure | Missing] = ()
    tables: Sequence[Table | Missing] = ()
    folded: Sequence[Table | Missing] = ()
    examples: Sequence["Example"] = ()
    is_folded: bool = False  # the whole part unfolds


@dataclass(frozen=True)
class Section:
    """A question that the page answers."""

    anchor: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Example:
    """A question with what each policy says of it. texts: who, text, remarks."""

    stem: str
    course: str
    options: Sequence[tuple[str, str, bool]]  # letter, text, is the key
    texts: Sequence[tuple[str, str, str]]


def cells(values: Iterable[object]) -> list[Cell]:
    """Plain cells."""
    return [Cell(str(value)) for value in values]


def gaps(sections: Iterable[Section]) -> list[Missing]:
    """Everything on the page that is missing."""
    return [
        item
        for section in sections
        for part in section.parts
        for item in (*part.figures, *part.tables, *part.folded)
        if isinstance(item, Missing)
    ]
