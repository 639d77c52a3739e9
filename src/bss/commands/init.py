"""`bss init`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from bss.exits import exits
from bss.paths import HERE


def init(
    table: Annotated[Path, typer.Argument(help="A row a pair: a table, shards, or a saved data set.")],
    label: Annotated[str | None, typer.Option(help="The column of the labels, where several could be.")] = None,
    root: Annotated[Path | None, typer.Option(help="What paths start from; the folder of the table.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Write it to params.yaml, whose comments stay.")] = False,
) -> None:
    """Propose the data section of params.yaml for a table.

    Tells what each column is taken for and why, and prints the section.

    Exit 0 done, 2 wrong input.
    """
    with exits():
        from bss.data.proposal.section import propose

        found = propose(table, label, root)
        if save:
            from bss.preset import lay

            ours = {"raw": found.raw, "preprocess": found.preprocess, "encoders": {}, "augment": {}}
            lay(ours, HERE.params, HERE.params)
    asked = [*(["--label", label] if label else []), *(["--root", str(root)] if root else [])]
    command = shlex.join(["bss", "init", str(table), *asked, "--save"])
    end = (
        f"{HERE.params}: raw and preprocess are these now, encoders and augment are empty.\nnext: bss check"
        if save
        else f"Nothing is written. To write it to {HERE.params}:\n{command}"
    )
    typer.echo(f"{found.explained}\n\n{found.section}\n\n{end}")
