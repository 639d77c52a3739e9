"""Better values, chosen on validation: `bss tune`.

Trials train in this process on what the stages before training have left; the test split is not opened. Optuna keeps
them in `.dvc/tmp/tune`, so that the same command goes on where it was. Exit as for `bss run`.
"""

import shutil
import sys
import textwrap
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bss.commands.counts import counting
from bss.errors import InputError
from bss.evaluation.page.words import percent, points
from bss.parsing import checked, read_mapping, setting
from bss.paths import HERE
from bss.preset import store
from bss.wording import counted
from flows.commands import run as pipeline
from flows.commands.exits import command, ready
from flows.commands.options import On, Values, Verbose
from flows.studies.study import FOLDER, Overlay, find, overlaid
from flows.studies.tuning import Tuning, assignments, stored

if TYPE_CHECKING:
    from flows.studies.trials import Ended

INTERRUPTED = "interrupted: the trials that ended are kept; the same command goes on"
OPTIMISTIC = (
    "The best of many trials on validation is optimistic: it was chosen for being high there. What it is worth "
    "shows on test, once: {}."
)


def main(
    values: Values = None,
    trials: Annotated[int, counting("How many in all, with those of before.")] = 20,
    seeds: Annotated[int | None, counting("So many of grid.seeds a trial; all by default.")] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds after which no trial begins.")] = None,
    method: Annotated[str | None, typer.Option(help="A training method; the first of the grid by default.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="One of the grid; random order by default.")] = None,
    on: On = None,
    apply: Annotated[bool, typer.Option("--apply", help="Write the best values to params.yaml.")] = False,
    verbose: Verbose = False,
) -> None:
    """Search for values that do better on validation.

    They are of the ranges in params.yaml. A poor trial is stopped early. Killed, the same command goes on."""
    command(lambda: run(values or [], on, (method, scheduler, seeds), (trials, timeout), apply, verbose), INTERRUPTED)


def run(
    values: list[str],
    on: str | None,
    row: tuple[str | None, str | None, int | None],
    limits: tuple[int, float | None],
    apply: bool,
    verbose: bool,
) -> bool:
    """Check everything, bring what trials share up to date, then search; whether that was possible.

    Args:
        values: texts `key=value`.
        on: the data set, a file of `comparisons/on/`; that of params.yaml by default.
        row: method, scheduler and number of seeds, as of `Tuning.of`.
        limits: number of trials, and seconds after which none begins.
        apply: whether the best values are written to params.yaml.
        verbose: whether the whole output of the stages is shown.
    """
    ready()
    raw, given = read_mapping(HERE.params), dict(map(setting, values))
    if on is not None:
        place = find(on, FOLDER / "on", "data set for --on")
        given = {**checked(read_mapping(place), Overlay, place).params, **given}
    tuning = Tuning.of(overlaid(raw, given, may_add=True), *row)
    if tuning.raw["spread"]["devices"] * tuning.raw["spread"]["nodes"] > 1:
        raise InputError("spread: a trial trains in one process; bss tune spread.devices=1 spread.nodes=1")
    import optuna  # noqa: F401 - what is missing shows before the stages run

    if given:
        from flows.studies.experiment import Experiment
    with pipeline.apart(Experiment.of(given)) if given else nullcontext():
        if not pipeline.run(tuning.stages, verbose):
            return False
        before, best = _search(tuning, *limits)
    _conclude(tuning, before, best)
    if apply and best is not None and best[1] > before:
        typer.echo("".join(f"{HERE.params}: {line}\n" for line in store(stored(raw, best[0]), HERE.params)), nl=False)
    return True


def _search(
    tuning: Tuning, num_trials: int, seconds: float | None
) -> tuple[float, tuple[dict[str, Any], float] | None]:
    """Accuracy of the values that there are, and the best ones with theirs."""
    from flows.studies.trials import Search

    with Search.opened(tuning) as search:
        there = f", {search.num_ended} are there" if search.num_ended else ""
        typer.echo(
            f"\n{tuning.method} in the order of {tuning.scheduler}, {counted(len(tuning.seeds), 'seed')}: "
            f"{counted(num_trials, 'trial')}{there}"
        )
        before = search.current()
        _line("now", percent(before), tuning.current)
        for ended in search.run(num_trials, seconds):
            _tell(ended, num_trials)
        return before, search.best


def _tell(ended: "Ended", num_trials: int) -> None:
    width = len(str(num_trials))
    count = f"{ended.number:>{width}}/{num_trials}"
    _line(count, percent(ended.accuracy), ended.values, ended.reason or f"{ended.seconds:.1f} s")


def _line(head: str, accuracy: str, values: Mapping[str, Any], note: str = "") -> None:
    room = max(40, min(80, shutil.get_terminal_size().columns))
    text = textwrap.shorten(" ".join(assignments(values)), max(12, room - len(note) - 21), placeholder=" …")
    typer.echo(f"{head:<7} {accuracy:>5} {'%' if accuracy != '-' else ' '} {text}{f'  {note}' if note else ''}")
    sys.stdout.flush()


def _conclude(tuning: Tuning, before: float, best: tuple[dict[str, Any], float] | None) -> None:
    """The best values beside the current ones, and what that is worth."""
    if best is None:
        typer.echo("\nno trial came to its end; more --trials, or other ranges")
        return
    values, accuracy = best
    rows = [("", "now", "best")]
    rows += [(key, str(value), str(values[key])) for key, value in tuning.current.items()]
    rows.append(("validation", f"{percent(before)} %", f"{percent(accuracy)} % ({points(accuracy - before)} points)"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    typer.echo("\n" + "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows) + "\n")
    if accuracy <= before:
        typer.echo("No trial did better than the values that there are; they stay.")
    else:
        typer.echo(textwrap.fill(OPTIMISTIC.format("bss tune --apply, then bss run"), 79))
