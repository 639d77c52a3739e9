"""`bss check`."""

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer

from bss.exits import exits
from bss.paths import HERE


def check(as_json: Annotated[bool, typer.Option("--json", help="Findings for a program.")] = False) -> None:
    """Tell every row of the data that cannot be used, and why.

    The data are those that params.yaml names; what was decoded for it, `preprocess` does not decode again.

    Exit 0 all is well, 1 there are findings, 2 wrong input.
    """
    with exits():
        from bss.params import load

        dataset = load(HERE.params).preprocess
        from bss.data.packing.check import summary
        from bss.data.packing.pack import examine

        findings = examine(dataset, HERE.packed, len(os.sched_getaffinity(0)))
    rows = {"dataset": dataset.name, "findings": [asdict(finding) for finding in findings]}
    typer.echo(json.dumps(rows, indent=2) if as_json else summary(dataset.name, findings))
    raise typer.Exit(1 if findings else 0)
