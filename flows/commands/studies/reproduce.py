"""A paper's table from the command line: `bss reproduce cremad`.

The published preset, the rows of the paper, and their figures by the paper's own protocol and by validation beside
the printed ones. Each seed runs in a workspace of its own, so that it goes on where it was. Exit as for `bss run`.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bss.commands.counts import counting
from bss.wording import counted
from flows.commands.exits import command, expect_name, ready, run_through_prefect
from flows.commands.options import Verbose
from flows.studies.reproduce_run import composed


def main(
    data: Annotated[str, typer.Argument(help="cremad, ks, vggsound, twitter2015, sarcasm or nvgesture.")],
    values: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Instead of those of the published preset.")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(help="Only these, with commas: concat,vanilla,bss-h,bss-l,aug ...")
    ] = None,
    seeds: Annotated[int, counting("How many.")] = 3,
    show: Annotated[bool, typer.Option("--show", help="Run nothing; print the table as far as it is.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Of the results in reports/compare; reproduce-DATA by default.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Run a paper's table, and print its figures beside ours."""
    typed = shlex.join(["bss", *sys.argv[1:]])
    command(lambda: run(data, values or [], rows, seeds, show, name, verbose, typed))


def run(
    data: str,
    values: list[str],
    rows: str | None,
    seeds: int,
    show: bool,
    name: str | None,
    verbose: bool,
    typed: str,
) -> bool:
    """Check everything, then run the flow and print the table; whether all stages are up to date.

    Args:
        typed: the command, which the table shows.
    """
    expect_name(name)
    ready()
    reproduce_run = composed(data, command=typed, name=name, seeds=seeds, rows=rows, settings=values)
    if show:
        from flows.studies.results import write_reproduced

        write_reproduced(reproduce_run)
        _print(reproduce_run.results)
        return True
    params = reproduce_run.params
    titled = params.preprocess.titled(Path(params.raw))
    typer.echo(f"{counted(len(reproduce_run.rows), 'row')} x {counted(seeds, 'seed')} on {titled}")
    for label, reason in reproduce_run.left_out.items():
        typer.echo(f"left out: {label}: {reason}")
    succeeded = run_through_prefect("reproduce", reproduce_run, verbose)
    if not succeeded:
        _print(reproduce_run.results)
    return succeeded


def _print(results: Path) -> None:
    """The table as it is, though not all of it may be there."""
    if (table := results / "table.txt").is_file():
        typer.echo(f"\n{table.read_text(encoding='utf-8').rstrip()}")
