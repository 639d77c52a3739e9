"""A retraining from the command line, here and in CI: `bss retrain [--base REVISION] [--dry]`.

What dvc.lock has results for is not computed, and not even fetched. Exit as for `bss run`; 1 also where a row of the
grid has lost too much validation accuracy to the base. The test split decides nothing.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bss.errors import InputError
from bss.evaluation.page.text import markdown, plain
from bss.exits import WRONG_INPUT, leave
from bss.files import write_text
from bss.parsing import setting
from bss.paths import HERE
from bss.wording import counted
from flows.commands import run as pipeline
from flows.commands.exits import command, ready
from flows.commands.options import Settings, Verbose
from flows.pages.server import ADDRESS, has_server
from flows.revisions import validation
from flows.revisions.change import Accuracies, change_table

CHANGES = {
    "Metrics": ("dvc", "metrics", "diff", "--md"),
    "Parameters": ("dvc", "params", "diff", "--md"),
    "Artifacts": ("bss", "diff", "--markdown"),
}
"""Title -> the command that compares the base with the workspace."""
FOLDED = "\n<details><summary>{title}</summary>\n\n{content}\n\n</details>"
NOTHING = "`{base}` has no report: there is nothing to compare with."
HEADER = ("run", "base %", "now %", "points", "seeds")


def main(
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Judge these instead of what params.yaml has."),
    ] = None,
    settings: Settings = None,
    base: Annotated[str, typer.Option(help="The git revision to compare with.")] = "HEAD",
    dry: Annotated[bool, typer.Option("--dry", help="Only tell which stages would run; needs no data.")] = False,
    verbose: Verbose = False,
) -> None:
    """Pull, run what is stale, push, and compare with a base."""
    given = [*(values or ()), *(settings or ())]
    if given and dry:
        leave("error: --dry tells what retraining with params.yaml would run; give it no other values", WRONG_INPUT)
    if given:
        command(lambda: judge(base, dict(map(setting, given)), verbose))
    command(lambda: show_gate() if dry else retrain(base, verbose))


def retrain(base: str, verbose: bool) -> bool:
    """Bring the grid up to date and write reports/retrain.md; whether all went well and no row lost too much."""
    params, is_named = ready(), has_server()
    before = validation.at(base)
    validation.expect_common_seeds(before, params.cells)
    if (stale := gate()) and not _ran(verbose):
        _tell(base, ["the run failed"], is_named)
        return False
    now = validation.now()
    drops = validation.drops(before, now, params.ci.max_drop)
    write_summary(base, before, now, drops, stale)
    typer.echo(f"\n{plain(HEADER, change_table(before, now))}\n\nsummary: {HERE.retraining.absolute()}")
    if _print_drops(drops):
        _tell(base, drops, is_named)
    return not drops


def judge(base: str, values: Mapping[str, Any], verbose: bool) -> bool:
    """Run with other values in a workspace of its own; whether all went well and no row lost too much to the base.

    Nothing is fetched or sent, and reports/retrain.md stays as it is.
    """
    from flows.studies.experiment import Experiment

    experiment, before = Experiment.of(values), validation.at(base)
    validation.expect_common_seeds(before, experiment.params.cells)
    if not pipeline.run_apart(experiment, [], verbose):
        return False
    now = validation.now(experiment.workspace)
    typer.echo(f"\n{plain(HEADER, change_table(before, now))}")
    return not _print_drops(validation.drops(before, now, experiment.params.ci.max_drop))


def show_gate() -> bool:
    """Print the stages that would run, and no more; true, for that is no failure."""
    typer.echo("".join(f"  {name}\n" for name in gate()), nl=False)
    return True


def gate() -> list[str]:
    """The stages that dvc.lock has no results for; their number is printed. Missing artifacts do not matter."""
    ready()
    from flows.graph.plan import plan

    planned = plan(allow_missing=True)
    stale = [stage.name for stage in planned if stage.stale]
    typer.echo(f"gate: {len(stale)} of {len(planned)} stages have no results in dvc.lock")
    _append("GITHUB_OUTPUT", f"stale={len(stale)}\n")
    return stale


def write_summary(base: str, before: Accuracies, now: Accuracies, drops: list[str], stale: list[str]) -> None:
    """Write what has changed since the base, in Markdown, for people and for the summary of a job."""
    passed = "No run has lost more validation accuracy than `ci.max_drop`."
    verdict = [f"- **{line}**" for line in drops] or [passed if before else NOTHING.format(base=base)]
    parts = [
        "# Retraining\n",
        *verdict,
        f"\n{counted(len(stale), 'stage')} had to run. Base: `{base}`.\n",
        f"## Fused validation accuracy, mean over the seeds of both\n\n{markdown(HEADER, change_table(before, now))}",
        *(FOLDED.format(title=title, content=_changes(command, base)) for title, command in CHANGES.items()),
    ]
    write_text("\n".join(parts) + "\n", HERE.retraining)
    _append("GITHUB_STEP_SUMMARY", HERE.retraining.read_text(encoding="utf-8"))


def _print_drops(drops: list[str]) -> bool:
    """Print what was lost; whether anything was."""
    for line in drops:
        typer.echo(line, err=True)
    return bool(drops)


def _tell(base: str, reasons: list[str], is_named: bool) -> None:
    """Send an event to the server of the user's settings, or else to that of `make ui`, if it is open.

    Args:
        base: the revision that was compared with.
        reasons: why the retraining has failed, a line each.
        is_named: whether the user's settings name a server; the one of a run is soon gone.
    """
    from flows.pages.events import RETRAINING_FAILED, choose_server, send

    if not is_named and not ADDRESS.exists():
        return
    try:
        choose_server(is_named)
        send(RETRAINING_FAILED, {"base": base, "reasons": reasons})
    except (InputError, RuntimeError, OSError) as error:  # the retraining has failed, whoever hears of it
        typer.echo(f"nobody is told: {error}", err=True)


def _ran(verbose: bool) -> bool:
    """Fetch what was computed elsewhere, compute the rest, and send it."""
    from flows.machines.remote import has_remote, push, restore

    shared = has_remote()
    if shared:
        typer.echo(f"pull: results of {counted(len(restore()), 'stage')} are here")
    else:
        typer.echo("pull: no default DVC remote (dvc remote add --default NAME URL); nothing is fetched or sent")
    succeeded = pipeline.run([], verbose)
    if shared:
        push()  # after a failure too: the others' results are not lost
        typer.echo("push: the remote has all results")
    return succeeded


def _changes(command: tuple[str, ...], base: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command, base], check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return done.stdout.strip() or "None."


def _append(variable: str, text: str) -> None:
    """Add to a file that GitHub reads, where it names one."""
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
