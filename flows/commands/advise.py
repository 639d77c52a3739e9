"""Whether the order will matter on this data: `bss advise`. Exit as for `bss run`."""

from dataclasses import replace
from pathlib import Path

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

    from bss.data.packed import Meta
    from bss.evaluation.advice.advise import advise, in_words
    from bss.evaluation.advice.page import advice_page
    from bss.evaluation.advice.warmed_up import read_warmed_up
    from bss.evaluation.artifacts import tables_of
    from bss.evaluation.grid.reader import read_training_pairs
    from flows.graph.plan import plan

    seen = read_warmed_up(dict.fromkeys(params.grid.seeds, HERE))
    if not any(stage.stale for stage in plan([])):
        seen = replace(seen, history=tables_of(HERE.run, "history", params.cells))
    found = advise(seen)
    write_text(in_words(found), HERE.advice("md"))
    with replaced(HERE.advice("csv")) as temporary:
        found.suspects.drop("index").write_csv(temporary)
    data = params.preprocess
    pairs = read_training_pairs(data, HERE, Meta.read(HERE.packed))
    title, num_shown = data.titled(Path(params.raw)), 3 * params.report.num_examples  # as many as the report shows
    write_text(advice_page(title, found, seen, pairs, num_shown), HERE.advice("html"))
    typer.echo(f"\n{in_words(found)}\nadvice, and the pairs that stand out: {HERE.advice('html').absolute()}")
    return True
