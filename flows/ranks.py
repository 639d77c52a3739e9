"""Ranks over several comparisons from the command line: `python -m flows.ranks NAME ...`.

Of one study on several data sets: which rows come first on all of them. Exit as for flows.pipeline.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bss.registry import lookup
from flows.command import command, show

RESULTS = Path("reports/compare")


def main(
    names: Annotated[list[str], typer.Argument(help="Folders of reports/compare/, for example methods-avdigits.")],
    out: Annotated[Path, typer.Option(help="Where ranks.html and ranks.md go.")] = RESULTS,
    confidence: Annotated[float, typer.Option(help="Of the critical distance.")] = 0.95,
) -> None:
    """Rank the rows of a study over all seeds of several data sets."""
    command(lambda: run(names, out, confidence))


def run(names: list[str], out: Path, confidence: float) -> bool:
    """Read what the comparisons left, and write the ranks; true."""
    known = {path.parent.name: path for path in sorted(RESULTS.glob("*/runs.csv"))}
    if not known:
        raise ValueError(f"{RESULTS} holds no comparison yet; `bss compare methods --on NAME` makes one")
    places = {name: lookup("comparison", name, known) for name in dict.fromkeys(names)}

    import polars as pl

    from bss.evaluation.report.ranks import Ranks, row_accuracies, write_ranks

    ranks = Ranks({name: row_accuracies(pl.read_csv(place)) for name, place in places.items()}, confidence)
    typed = shlex.join(["python", "-m", "flows.ranks", *sys.argv[1:]])
    write_ranks(ranks, ", ".join(places), typed, out)
    show(out / "ranks.md", out / "ranks.html")
    return True


if __name__ == "__main__":
    typer.run(main)
