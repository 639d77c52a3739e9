"""`bss check`."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from bss.exits import exits
from bss.paths import HERE

if TYPE_CHECKING:
    import polars as pl


def check(as_json: Annotated[bool, typer.Option("--json", help="Findings for a program.")] = False) -> None:
    """Tell every row of the data that cannot be used, and why.

    First come the classes by split. The data are those that params.yaml names; what was decoded for it,
    `preprocess` does not decode again.

    Exit 0 all is well, 1 there are findings, 2 wrong input.
    """
    with exits():
        from bss.params import load

        dataset = load(HERE.params).preprocess
        from bss.data.packing.check import summary
        from bss.data.packing.pack import examine

        findings, counts = examine(dataset, HERE.packed, len(os.sched_getaffinity(0)))
    rows = {
        "dataset": dataset.name,
        "findings": [asdict(finding) for finding in findings],
        "classes": counts.to_dicts(),
    }
    text = "\n\n".join([_classes(counts), summary(dataset.name, findings)])
    typer.echo(json.dumps(rows, indent=2) if as_json else text)
    raise typer.Exit(1 if findings else 0)


def _classes(counts: "pl.DataFrame") -> str:
    """Classes by splits, the largest class, and the classes that a split lacks."""
    from bss.data.packing.classes import absent_classes
    from bss.evaluation.page.text import plain
    from bss.evaluation.page.words import percent
    from bss.wording import counted

    table = plain(counts.columns, [[str(cell) for cell in row] for row in counts.iter_rows()])
    sizes = counts.drop("class").sum_horizontal().to_list()
    total = sum(sizes)
    if not total:
        return "no pair is left: every row has a fault"
    largest = sizes.index(max(sizes))
    share = f"{percent(sizes[largest] / total)} % of {counted(total, 'pair')}"
    lines = [table, f"largest class: {counts['class'][largest]}, {share}"]
    for split, names in absent_classes(counts).items():
        lines.append(f"warning: no {split} pair of {', '.join(names)}: nothing can be said of them there")
    return "\n".join(lines)
