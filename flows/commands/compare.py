"""A comparison from the command line: `bss compare STUDY --on DATA`.

The rows of the study run through the DVC matrix, each seed in a workspace of its own with the cache of this one:
what was computed anywhere is not computed again, and params.yaml stays as it is. Exit as for `bss run`.
"""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from bss.commands.completion import overlays, studies
from bss.errors import InputError
from bss.params import Params, every_method
from bss.parsing import checked, read_mapping
from bss.paths import HERE
from flows.commands.exits import command, prepare_prefect, show, succeeds
from flows.studies.study import FOLDER, Overlay, Raw, Study, find, overlaid, setting


def main(
    study: Annotated[str, typer.Argument(help="A file of comparisons/, by its name.", autocompletion=studies)],
    on: Annotated[
        str | None,
        typer.Option(help="A file of comparisons/on/, by its name: the data set.", autocompletion=overlays),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many, instead of what the study says.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value over params.yaml.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the results in reports/compare; STUDY-DATA by default.")
    ] = None,
    verbose: Annotated[bool, typer.Option(help="Show the whole output of the stages.")] = False,
) -> None:
    """Run a study and write its table and its page."""
    typed = shlex.join(["bss", *sys.argv[1:]])
    command(lambda: run(study, on, seeds, settings or [], name, verbose, typed))


def run(
    study: str, on: str | None, seeds: int | None, settings: list[str], name: str | None, verbose: bool, typed: str
) -> bool:
    """Check everything, then run the flow; whether all stages are up to date and the results are written.

    `typed` is what the page tells to type for the same again.
    """
    checked(read_mapping(HERE.params), Params, HERE.params)
    places = [find(study, FOLDER), *([find(on, FOLDER / "on")] if on else [])]
    given, about, raw = composed(places, seeds, settings)
    name = name or "-".join(place.stem for place in places)
    if not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise InputError(f"--name {name!r}: expected letters, digits, '-', '_' and '.'")
    grid = raw["grid"]
    num_rows, num_seeds = len(grid["methods"]) * len(grid["schedulers"]), len(grid["seeds"])
    typer.echo(f"{num_rows} rows x {num_seeds} seeds on {raw['preprocess']['name']}")
    prepare_prefect(verbose)
    from flows.pages.server import start_if_needed

    server = start_if_needed()
    from flows.studies.flow import RESULTS, compare

    if server is not None:
        server.wait()
    state = compare(name, given, raw, about, typed, return_state=True)
    if state.is_completed():
        show(RESULTS / name / "table.txt", RESULTS / name / "page.html")
    return succeeds(state)


def composed(places: list[Path], seeds: int | None, settings: list[str]) -> tuple[Study, list[str], Raw]:
    """The study, what it is about, and the content of params.yaml with it in.

    The data set comes first, then the study, then the settings of the command line.

    Raises:
        InputError: what does not fit together; one line a fault.
    """
    study = checked(read_mapping(places[0]), Study, places[0])
    if seeds is not None:
        study = checked({**study.model_dump(), "seeds": seeds}, Study, Path("--seeds"))
    overlays = [checked(read_mapping(place), Overlay, place) for place in places[1:]]
    raw = read_mapping(HERE.params)
    raw["methods"] = every_method(raw.get("methods", {}))  # so that an overlay may vary each
    for overlay in overlays:
        raw = overlaid(raw, overlay.params)
    raw = overlaid(study.parameters(raw), dict(map(setting, settings)))
    checked(raw, Params, places[0])
    return study, [each.about for each in (study, *overlays)], raw
