"""The tables of docs/methods.md, made of the code: `python -m docs.catalogue` writes them there.

`python -m docs.catalogue NAME` prints a method's page: that of docs/methods or, where none is written, one made of
docstrings and fields.
"""

import sys
from pathlib import Path

from bss.evaluation.page.text import markdown
from bss.exits import exits
from bss.files import write_text
from bss.training.catalogue import Entry, entries, entry
from docs.marked import filled

FOLDER = Path(__file__).parent
PAGE, PAGES = FOLDER / "methods.md", FOLDER / "methods"
SOURCES = "../../src/bss/training/methods"
COMMAND = "python -m docs.catalogue"
PUBLISHED = ("CREMA-D", "KS", "VGGSound")


def written(text: str) -> str:
    """The page with its tables made anew."""
    return filled(text, COMMAND, table(), published())


def table() -> str:
    """A row for every method; the links lead from the folder docs."""
    header = ["method", "idea", "paper", "changes", "extra a step", "needs", "variants"]
    return markdown(header, [_row(one) for one in entries()], len(header))


def published() -> str:
    """Accuracies of papers and of BalanceBenchmark; methods of which neither has any are left out."""
    rows = [
        [_linked(one.name), *(_percent(numbers.get(name)) for numbers in both for name in PUBLISHED)]
        for one in entries()
        if any(both := (one.record.reported, one.record.benchmark))
    ]
    return markdown(["method", *(f"{name}, {by}" for by in ("its own", "benchmark") for name in PUBLISHED)], rows)


def page(name: str) -> str:
    """The written page of a method, or the one that its code makes.

    Raises:
        UnknownName: there is no such method.
    """
    one = entry(name)
    if (path := PAGES / f"{name}.md").is_file():
        return path.read_text(encoding="utf-8")
    fields = [[f"`{field.name}`", f"`{field.default}`", field.meaning] for field in one.settings]
    settings = markdown(["field", "default", "meaning"], fields, 3)
    source = f"Source: [{name}.py]({SOURCES}/{name}.py).\n"
    return "\n\n".join([f"# {name}: {one.idea}", one.text, settings, source])


def _row(one: Entry) -> list[str]:
    record = one.record
    listed = [", ".join(values) or "-" for values in (record.families, one.needs, one.variants)]
    return [_linked(one.name), one.idea, record.paper, listed[0], record.extra, *listed[1:]]


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f}"


def _linked(name: str) -> str:
    return f"[{name}](methods/{name}.md)" if (PAGES / f"{name}.md").is_file() else f"`{name}`"


if __name__ == "__main__":
    with exits():
        if sys.argv[1:]:
            print(page(sys.argv[1]))  # noqa: T201
        else:
            write_text(written(PAGE.read_text(encoding="utf-8")), PAGE)
