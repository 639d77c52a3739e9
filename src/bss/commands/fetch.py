"""`bss fetch`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bss.commands import completion
from bss.errors import InputError
from bss.exits import FAILED, exits, leave
from bss.paths import absolute

if TYPE_CHECKING:
    from bss.data.datasets.dataset import Dataset


def fetch(
    name: Annotated[
        str | None,
        typer.Argument(help="A data set; that of params.yaml where left out.", autocompletion=completion.datasets),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The folder for a program.")] = False,
) -> None:
    """Have the raw files of a data set here, and say where they lie.

    They are looked for in $BSS_DATA/NAME and ../shared/data/NAME, and otherwise fetched from their
    publishers into data/raw/NAME; either way they are checked.

    Exit 0 they are there, 1 they cannot be had, or are not as published, 2 wrong input.
    """
    with exits():
        dataset = _dataset(name)
        try:
            folder = absolute(dataset.locate())  # a link into a cache is of no use to a reader
        except InputError as error:
            leave(f"error: {error}", FAILED)
    typer.echo(
        json.dumps({"dataset": dataset.name, "folder": str(folder)}) if as_json else f"{dataset.name}: {folder}"
    )


def _dataset(name: str | None) -> "Dataset":
    """With the options of params.yaml where that names it."""
    from bss.params import load

    path = Path("params.yaml")
    if name is None or path.is_file():
        chosen = load(path).preprocess
        if name in (None, chosen.name):
            return chosen
    from pydantic import ValidationError

    from bss.data.datasets.dataset import DATASETS

    try:
        built: Dataset = DATASETS.build(name)
    except ValidationError as error:
        needed = ", ".join(str(fault["loc"][0]) for fault in error.errors())
        raise InputError(f"'{name}' needs {needed}: say them under preprocess in params.yaml") from None
    return built
