"""Arguments and options that several commands have."""

from typing import Annotated

import typer

from bss.commands.completion import overlays

Values = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Instead of those of params.yaml.")]
Settings = Annotated[list[str] | None, typer.Option("--set", "-S", help="KEY=VALUE, which may stand without -S too.")]
On = Annotated[
    str | None, typer.Option(help="A file of comparisons/on/, by its name: the data set.", autocompletion=overlays)
]
Verbose = Annotated[bool, typer.Option(help="Show the whole output of the stages.")]
