"""Tables as text: for a terminal of 80 columns, and as Markdown."""

import textwrap
from collections.abc import Sequence

WIDTH = 80
Cells = Sequence[str]


def plain(header: Cells, rows: Sequence[Cells]) -> str:
    """Aligned columns in at most 80 characters; a first cell that is too long goes on in the next line."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths[1:]))
    rule = ["-" * width for width in widths]
    return "\n".join(line for cells in (header, rule, *rows) for line in _lines(cells, widths))


def markdown(header: Cells, rows: Sequence[Cells], num_texts: int = 1) -> str:
    """A Markdown table, whose columns after the first `num_texts` are aligned to the right."""
    rule = ["---" if number < num_texts else "--:" for number in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def wrapped(sentence: str) -> str:
    """A sentence in lines of at most 80 characters."""
    return textwrap.fill(sentence, WIDTH, subsequent_indent="  ")


def _lines(cells: Cells, widths: Sequence[int]) -> list[str]:
    first, *more = textwrap.wrap(cells[0], widths[0], subsequent_indent="  ") or [""]
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return ["  ".join([first.ljust(widths[0]), *rest]), *more]
