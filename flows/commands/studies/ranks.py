"""Ranks of the rows of a study over several data sets: `bss ranks NAME ...`.

Each NAME is a folder of results that `bss compare` left. Exit as for `bss run`.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bss.errors import InputError
from bss.paths import HERE
from bss.registry import lookup
from flows.commands.exits import command, show

if TYPE_CHECKING:
    import polars as pl


def main(
    names: Annotated[list[str], typer.Argument(help="Folders of reports/compare/, for example methods-avdigits.")],
    out: Annotated[Path, typer.Option(help="Where ranks.html and ranks.md go.")] = HERE.studies,
    confidence: Annotated[float, typer.Option(help="Of the critical distance.")] = 0.95,
) -> None:
    """Rank the rows of a study over all seeds of several data sets."""
    command(lambda: run(names, out, confidence))


def run(names: list[str], out: Path, confidence: float) -> bool:
    """Read what the comparisons left, and write the ranks; true."""
    known = {path.parent.name: path for path in sorted(HERE.studies.glob("*/runs.csv"))}
    if not known:
        raise InputError(f"{HERE.studies} holds no comparison yet; `bss compare methods --on NAME` makes one")
    places = {name: lookup("comparison", name, known) for name in dict.fromkeys(names)}

    from bss.evaluation.study.ranks import Ranks, common_rows, row_accuracies, write_ranks

    accuracies, others = common_rows({name: row_accuracies(_runs(place)) for name, place in places.items()})
    if others:
        typer.echo(f"not ranked, because not on all of them: {', '.join(others)}")
    ranks = Ranks(accuracies, confidence)
    typed = shlex.join(["bss", *sys.argv[1:]])
    write_ranks(ranks, ", ".join(places), typed, out)
    show(out / "ranks.md", out / "ranks.html")
    return True


def _runs(place: Path) -> "pl.DataFrame":
    """The rows of a file that `bss compare` left.

    Raises:
        InputError: they are damaged.
    """
    import polars as pl

    try:
        runs = pl.read_csv(place)
        if "fold" in runs.columns and runs["fold"].null_count() < len(runs):
            raise InputError(
                f"{place} is of a study with folds, whose runs share pairs, and ranks count each as one that stands "
                "by itself: rank studies over the seeds of one split"
            )
        return runs.select("row", "seed", "accuracy")
    except pl.exceptions.PolarsError as error:
        cause = str(error).partition("\n")[0]
        raise InputError(f"{place} is damaged: {cause}; `bss compare` writes it again") from None
