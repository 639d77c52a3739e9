"""`bss methods`."""

import textwrap
from collections.abc import Mapping
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated

import typer

from bss.errors import InputError
from bss.exits import exits

if TYPE_CHECKING:
    from bss.training.catalogue import Entry

FAMILIES = "baseline, gradient, loss, architecture, data, schedule, fusion"


def methods(
    name: Annotated[str | None, typer.Argument(help="Show this one with its fields.")] = None,
    family: Annotated[str | None, typer.Option(help=f"Only these: {FAMILIES}.")] = None,
) -> None:
    """List the training methods, or show one.

    A method stands under the first of its families; --family finds it under each.

    Exit 0 done, 2 there is no such method or family.
    """
    with exits():
        if name is not None and family is not None:
            raise InputError(f"a name and --family {family}: expected one of both")
        from bss.training import catalogue

        if name is not None:
            typer.echo(_page(catalogue.entry(name)))
            return
        found = catalogue.entries(family)
        for kind in [family] if family else catalogue.FAMILIES:
            listed = [one for one in found if family or one.record.families[:1] == (kind,)]
            _list(kind, listed)
        if others := [one for one in found if not one.record.families]:
            _list("of no family", others)
        typer.echo(f"{len(found)} methods; `bss methods NAME` shows one with its fields")


def _list(title: str, entries: "list[Entry]") -> None:
    if entries:
        typer.echo(f"{title}\n" + "\n".join(_row(f"  {one.name:<20}", one.line) for one in entries) + "\n")


def _page(entry: "Entry") -> str:
    record = entry.record
    facts = {
        "paper": record.paper,
        "family": ", ".join(record.families),
        "extra a step": record.extra,
        "needs": ", ".join(entry.needs),
        "variants": ", ".join(entry.variants),
        "reported": _numbers(record.reported),
        "benchmark": _numbers(record.benchmark),
    }
    rows = [_row(f"{key:<14}", value) for key, value in facts.items() if value]
    paragraphs = "\n\n".join(map(_filled, entry.text.split("\n\n")))
    lines = [_filled(entry.idea), "", *rows, "", paragraphs, ""]
    for setting in entry.settings:
        lines.append(_row(f"  {setting.name:<20}", f"[{setting.default}] {setting.meaning}".rstrip()))
    return "\n".join(lines)


def _numbers(accuracies: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {percent:g} %" for name, percent in accuracies.items())


def _filled(paragraph: str) -> str:
    """A paragraph as wide as the terminal; a list, or one with a formula, which is indented, as it stands."""
    lines = paragraph.split("\n")
    if any(line.startswith((" ", "- ")) for line in lines):
        return paragraph
    return textwrap.fill(" ".join(lines), _width())


def _width() -> int:
    return max(get_terminal_size().columns, 60)


def _row(head: str, text: str) -> str:
    """A head, and beside it a text on as many lines as it takes."""
    return textwrap.fill(f"{head} {text}", _width(), subsequent_indent=" " * (len(head) + 1))
