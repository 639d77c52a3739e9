"""Runs that took hours, kept with the pages that are made of them: `python -m docs.runs NAME ...`.

Each NAME is a folder that `bss compare` left in reports/compare, or the beginning of several that a study with `each`
left. It is run in the clone that they were computed in, whose commit the file then names.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from bss.errors import InputError
from bss.exits import exits
from bss.files import write_text
from bss.paths import HERE

FOLDER = Path(__file__).with_name("tables")
STUDY = "study"
COMMENT = "#"


def keep(name: str, commit: str) -> None:
    """Write `docs/tables/NAME.csv`, a row a run, and `docs/tables/NAME.txt`, the table of a study of one part.

    The column `study` is the folder that a run comes from.

    Raises:
        InputError: there is no such study.
    """
    one, several = HERE.studies / name, HERE.studies.glob(f"{name}-*")
    folders = [one] if one.is_dir() else sorted(several)
    paths = [path for folder in folders if (path := folder / "runs.csv").is_file()]
    if not paths:
        raise InputError(f"{HERE.studies} has no runs of {name}; `bss compare` makes them")
    runs = pl.concat(pl.read_csv(path).select(pl.lit(path.parent.name).alias(STUDY), pl.all()) for path in paths)
    write_text(f"{COMMENT} commit {commit}\n{runs.write_csv(float_precision=6)}", FOLDER / f"{name}.csv")
    if one.is_dir():
        write_text((one / "table.md").read_text(encoding="utf-8"), FOLDER / f"{name}.txt")


def kept(study: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """Data set and runs of what is kept of a study, in the order of the alphabet.

    Raises:
        InputError: nothing is.
    """
    paths = sorted(FOLDER.glob(f"{study}-*.csv"))
    if not paths:
        raise InputError(f"{FOLDER} has no {study}-DATA.csv; `python -m docs.runs {study}-DATA` keeps one")
    for path in paths:
        yield path.stem.removeprefix(f"{study}-"), pl.read_csv(path, comment_prefix=COMMENT)


def commit_of(name: str) -> str:
    """The commit that kept runs were computed at."""
    return _kept(name, ".csv").partition("\n")[0].split()[-1]


def table_of(name: str) -> str:
    """The table of a study, in Markdown."""
    return _kept(name, ".txt").strip()


def _kept(name: str, ending: str) -> str:
    path = FOLDER / f"{name}{ending}"
    if not path.is_file():
        raise InputError(f"{path} is missing; `python -m docs.runs {name}` keeps it")
    return path.read_text(encoding="utf-8")


def head() -> str:
    """The commit that is checked out, `-dirty` behind it where files of it have been changed."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    with exits():
        for given in sys.argv[1:]:
            keep(given, head())
