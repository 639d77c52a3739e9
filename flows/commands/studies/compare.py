"""A study from the command line: `bss compare STUDY --on DATA`.

The rows of the study run through the DVC matrix, each seed in a workspace of its own with the cache of this one:
what was computed anywhere is not computed again, and params.yaml stays as it is. Exit as for `bss run`.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bss.commands.completion import studies
from bss.commands.counts import counting
from bss.wording import counted
from flows.commands.exits import command, expect_name, ready, run_through_prefect
from flows.commands.options import On, Settings, Values, Verbose
from flows.studies.study_run import StudyRun, composed_each


def main(
    study: Annotated[str, typer.Argument(help="A file of comparisons/, by its name.", autocompletion=studies)],
    values: Values = None,
    on: On = None,
    seeds: Annotated[int | None, counting("How many, instead of what the study says.")] = None,
    folds: Annotated[
        int | None, typer.Option(help="Parts of the data, each of which is the test split once; of data with folds.")
    ] = None,
    settings: Settings = None,
    name: Annotated[
        str | None, typer.Option(help="Of the results in reports/compare; STUDY-DATA by default.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Run a study and write its table and its page."""
    typed = shlex.join(["bss", *sys.argv[1:]])
    command(lambda: run(study, on, seeds, folds, [*(values or ()), *(settings or ())], name, verbose, typed))


def run(
    study: str,
    on: str | None,
    seeds: int | None,
    folds: int | None,
    settings: list[str],
    name: str | None,
    verbose: bool,
    typed: str,
) -> bool:
    """Check everything, then run the flow; whether all stages are up to date and the results are written.

    Of a study with `each` that is done for one combination of its values after the other, until one fails.

    Args:
        typed: the command, which the page shows.
    """
    expect_name(name)
    ready()
    runs = composed_each(study, on, command=typed, name=name, seeds=seeds, folds=folds, settings=settings)
    return all(_run(each, verbose) for each in runs)


def _run(study_run: StudyRun, verbose: bool) -> bool:
    params = study_run.params
    num_rows = len(params.grid.methods) * len(params.grid.schedulers)
    folds = [counted(study_run.study.folds, "fold")] if study_run.study.folds else []
    times = " x ".join([*folds, counted(len(params.grid.seeds), "seed")])
    typer.echo(f"{counted(num_rows, 'row')} x {times} on {params.preprocess.titled(Path(params.raw))}")
    if study_run.study.each:
        typer.echo(study_run.about[-1])
    return run_through_prefect("compare", study_run, verbose)
