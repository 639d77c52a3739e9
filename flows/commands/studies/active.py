"""Active learning from the command line: `bss active --on DATA`.

Every acquisition asks for labels in rounds; each seed runs in a workspace of its own with the cache of this one, so
that a curve resumes, and one more acquisition or round computes only what is new. Exit as for `bss run`.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bss.commands.counts import counting
from bss.wording import counted
from flows.commands.exits import command, expect_name, ready, run_through_prefect
from flows.commands.options import On, Values, Verbose
from flows.studies.active_run import composed


def main(
    values: Values = None,
    on: On = None,
    seeds: Annotated[int, counting("How many.")] = 5,
    rounds: Annotated[int | None, counting("How many, instead of what params.yaml says.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the results in reports/compare; active-DATA by default.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Compare what may choose the pairs that are labelled next."""
    typed = shlex.join(["bss", *sys.argv[1:]])
    command(lambda: run(on, seeds, rounds, values or [], name, verbose, typed))


def run(
    on: str | None, seeds: int, rounds: int | None, values: list[str], name: str | None, verbose: bool, typed: str
) -> bool:
    """Check everything, then run the flow; whether all stages are up to date and the results are written.

    Args:
        typed: the command, which the page shows.
    """
    expect_name(name)
    ready()
    active_run = composed(on, command=typed, name=name, seeds=seeds, rounds=rounds, settings=values)
    params = active_run.params
    settings = params.active
    typer.echo(
        f"{counted(len(settings.grid.acquisitions), 'acquisition')} x {counted(seeds, 'seed')} on "
        f"{params.preprocess.titled(Path(params.raw))}: {counted(settings.initial, 'label')}, then "
        f"{counted(len(settings.rounds), 'round')} of {settings.per_round}"
    )
    return run_through_prefect("active", active_run, verbose)
