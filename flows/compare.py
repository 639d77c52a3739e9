"""A comparison from the command line: `python -m flows.compare STUDY --on DATA`.

The rows of the study run through the DVC matrix in a workspace of their own, with the cache of this one: what either
has computed, the other need not, and params.yaml stays as it is. Exit as for flows.pipeline.
"""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bss.params import Params, checked, read_mapping
from flows.command import command, prepare_prefect, show, succeeds
from flows.study import FOLDER, Overlay, Study, find, overlaid, setting


def main(
    study: Annotated[str, typer.Argument(help="A file of comparisons/, by its name.")],
    on: Annotated[str | None, typer.Option(help="A file of comparisons/on/, by its name: the data set.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many, instead of what the study says.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value over params.yaml.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the results in reports/compare; STUDY-DATA by default.")
    ] = None,
    verbose: Annotated[bool, typer.Option(help="Show the whole output of the stages.")] = False,
) -> None:
    """Run a study and write its table and its page."""
    command(lambda: run(study, on, seeds, settings or [], name, verbose))


def run(study: str, on: str | None, seeds: int | None, settings: list[str], name: str | None, verbose: bool) -> bool:
    """Check everything, then run the flow; whether all stages are up to date and the results are written."""
    plain = read_mapping(Path("params.yaml"))
    checked(plain, Params, Path("params.yaml"))
    file = find(study, FOLDER)
    given = checked(read_mapping(file), Study, file)
    if seeds is not None:
        given = checked({**given.model_dump(), "seeds": seeds}, Study, Path("--seeds"))
    place = find(on, FOLDER / "on") if on else None
    data = checked(read_mapping(place), Overlay, place) if place else Overlay(about="")
    raw = overlaid(given.parameters(overlaid(plain, data.params)), dict(map(setting, settings)))
    params = checked(raw, Params, file)
    name = name or "-".join(part.stem for part in (file, place) if part)
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise ValueError(f"--name {name!r}: expected letters, digits, '-', '_' and '.'")
    about = [sentence for sentence in (given.about, data.about) if sentence]

    grid = raw["grid"]
    rows, repeats = len(grid["methods"]) * len(grid["schedulers"]), len(grid["seeds"])
    typer.echo(f"{rows} rows x {repeats} seeds on {params.preprocess.name}")
    prepare_prefect(verbose)
    from flows.server import start_if_needed

    server = start_if_needed()
    from flows.comparison import RESULTS, compare

    if server is not None:
        server.wait()
    typed = shlex.join(["python", "-m", "flows.compare", *sys.argv[1:]])
    state = compare(name, given, raw, about, typed, return_state=True)
    if state.is_completed():
        show(RESULTS / name / "table.txt", RESULTS / name / "page.html")
    return succeeds(state)


if __name__ == "__main__":
    typer.run(main)
