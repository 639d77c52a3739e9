"""Whether the order will matter on this data: `bss advise`. Exit as for `bss run`."""

from dataclasses import replace

import typer

from bss.files import replaced, write_text
from bss.paths import HERE
from flows.commands.exits import command, ready
from flows.commands.options import Verbose
from flows.commands.run import run
from flows.workspace.lifeline import end_with_parent


def main(verbose: Verbose = False) -> None:
    """Say what to expect of an order, and name pairs to look at.

    It takes the warm-up alone, a small part of a whole run."""
    end_with_parent()
    command(lambda: start(verbose))


def start(verbose: bool) -> bool:
    """Bring the scores up to date, and write what they say; whether that was possible."""
    if not run(["score"], verbose):
        return False
    params = ready()

    from bss.evaluation.artifacts import tables_of
    from bss.evaluation.findings.advice import advise, in_words
    from bss.evaluation.grid.warmed_up import read_warmed_up
    from flows.graph.plan import plan

    seen = read_warmed_up(dict.fromkeys(params.grid.seeds, HERE))
    if not any(stage.stale for stage in plan([])):
        seen = replace(seen, history=tables_of(HERE.run, "history", params.cells))
    found = advise(seen)
    write_text(in_words(found), HERE.advice("md"))
    with replaced(HERE.advice("csv")) as temporary:
        found.suspects.write_csv(temporary)
    typer.echo(f"\n{in_words(found)}\npairs that stand out: {HERE.advice('csv').absolute()}")
    return True
