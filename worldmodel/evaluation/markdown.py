"""A table of text as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of equal length, the head first, as a table of Markdown with a line's end after each."""
    head, *rest = rows
    return "".join(f"{line}\n" for line in (_line(head), "|" + "---|" * len(head), *map(_line, rest)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
