"""`bss export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bss.errors import InputError
from bss.exits import exits
from bss.paths import HERE
from bss.wording import counted

if TYPE_CHECKING:
    from bss.evaluation.registered.card import Best

FORMS = ("pt2", "onnx")
NUM_CHECKED = 256
"""Rows that the program is checked with at most."""


def export(
    manifest: Annotated[
        Path | None,
        typer.Argument(metavar="TABLE", help="Rows to check with; those of validation, in the workspace."),
    ] = None,
    model: Annotated[Path, typer.Option(help="Folder of a registered model.")] = HERE.best,
    form: Annotated[str, typer.Option("--format", help="pt2 (torch.export) or onnx.")] = "pt2",
    out: Annotated[Path | None, typer.Option(help="The file to write; model.FORMAT by default.")] = None,
) -> None:
    """Write a registered model as a program of its own.

    It takes any number of rows. It is checked: real rows get the probabilities of bss predict, or nothing is written.

    Exit 0 done, 2 wrong input, or a model that cannot be exported.
    """
    with exits():
        if form not in FORMS:
            raise InputError(f"--format {form}: expected {' or '.join(FORMS)}")
        path = out or Path(f"model.{form}")
        if path.is_dir():
            raise InputError(f"--out {path} is a folder; give the name of a file, as in {path / f'model.{form}'}")
        if path.suffix != f".{form}":
            other = f"; or give --format {path.suffix[1:]}" if path.suffix[1:] in FORMS else ""
            raise InputError(f"--out {path}: expected a name that ends in .{form}, as --format is {form}{other}")
        from bss.evaluation.registered.card import Best

        best = Best.read(model)
        inputs = best.rows(manifest).read(0, NUM_CHECKED) if manifest is not None else _validation(best)
        if form == "onnx":
            import onnx  # noqa: F401 - what is missing shows before the model is read
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        from bss.evaluation.registered.export import export as write  # imports torch

        done = write(model, best, inputs, form, path)  # type: ignore[arg-type]
    typer.echo(
        f"{done.path}: {path.stat().st_size / 2**20:.1f} MB; {done.description.name} says what it takes and gives\n"
        f"checked with {counted(done.num_rows, 'row')}: at most {done.max_difference:.1e} from bss predict"
    )


def _validation(best: "Best") -> dict[str, Any]:
    """Packed rows of the validation split of this workspace.

    Raises:
        InputError: it is not of the data that the model is of.
    """
    from bss.data.packed import META, Meta, open_split
    from bss.types import Split

    if not (HERE.packed / META).is_file() or Meta.read(HERE.packed) != best.meta:
        raise InputError(
            f"{HERE.packed} has no rows of the data of this model to check with: bss export TABLE, as for bss predict"
        )
    import numpy as np

    split = open_split(HERE.packed, Split.VALIDATION)
    return split.read(np.arange(min(len(split), NUM_CHECKED)))
