"""`bss predict`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bss.commands.counts import counting
from bss.errors import InputError
from bss.exits import exits
from bss.paths import HERE
from bss.types import FUSED, JUDGED, OWN
from bss.wording import counted

if TYPE_CHECKING:
    from bss.evaluation.registered.prediction import Prediction

SUFFIXES = (".csv", ".parquet")
NUM_SHOWN = 20


def predict(
    manifest: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="A row a sample, a column a modality; any form that bss init reads."),
    ],
    model: Annotated[Path, typer.Option(help="Folder of a registered model.")] = HERE.best,
    out: Annotated[Path | None, typer.Option(help="Where all probabilities go: .csv or .parquet.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All probabilities for a program, on stdout.")] = False,
    batch_size: Annotated[int, counting("Rows at once; changes no result.")] = 256,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Use a registered model on new data.

    Each row gets a class, and probabilities by the fusion and by each modality.

    Paths in the table start from its folder. An id column is taken over; a label column gives the accuracy.

    Exit 0 done, 2 wrong input.
    """
    with exits():
        if out is not None and out.suffix not in SUFFIXES:
            raise InputError(f"--out {out}: expected a name that ends in {' or '.join(SUFFIXES)}")
        if out is not None and out.is_dir():
            raise InputError(f"--out {out} is a folder; give the name of a file, as in {out / 'said.csv'}")
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(f"--device {device}: expected auto, cpu or cuda")
        if device == "cuda" and not _has_cuda():
            raise InputError("--device cuda: torch finds no CUDA device here; take auto or cpu")
        from bss.evaluation.registered.card import Best, probability_columns

        best = Best.read(model)
        if out is not None:
            probability_columns([*best.meta.modalities, FUSED, JUDGED, OWN], best.meta.classes)
        rows = best.rows(manifest)
        from bss.evaluation.registered.prediction import predict as ask  # imports torch

        found = ask(model, best, rows, batch_size, device)
        if out is not None:
            _write(found, out)
    if as_json:
        cell = {"method": best.method, "scheduler": best.scheduler, "seed": best.seed}
        typer.echo(json.dumps({"model": cell, "accuracy": found.accuracy, "rows": _rows(found)}, indent=2))
    else:
        typer.echo(_summary(found, out))


def _has_cuda() -> bool:
    from torch.cuda import is_available

    return is_available()


def _write(found: "Prediction", out: Path) -> None:
    from bss.files import replaced

    with replaced(out) as temporary:
        if out.suffix == ".csv":
            found.table.write_csv(temporary)
        else:
            found.table.write_parquet(temporary)


def _rows(found: "Prediction") -> list[dict[str, Any]]:
    return [
        {
            "id": identity,
            "prediction": found.classes[found.winners[row]],
            "probabilities": {
                output: dict(zip(found.classes, values[row].tolist(), strict=True))
                for output, values in found.outputs.items()
            },
        }
        for row, identity in enumerate(found.ids)
    ]


def _summary(found: "Prediction", out: Path | None) -> str:
    """The first rows for a person, or where all are; then how many are right, where that is known."""
    lines = [f"{counted(len(found.ids), 'row')}: {out.absolute()}"] if out is not None else _listing(found)
    if found.accuracy is not None and found.num_labelled < len(found.ids):
        lines.append(f"{found.num_labelled} of {len(found.ids)} rows have a label; of them:")
    for name, share in (found.accuracy or {}).items():
        lines.append(f"accuracy {name:<12} {100 * share:5.1f} %")
    return "\n".join(lines)


def _listing(found: "Prediction") -> list[str]:
    shown = min(len(found.ids), NUM_SHOWN)
    chosen = found.chosen[range(shown), found.winners[:shown]]
    cells = [(found.ids[row], found.classes[found.winners[row]]) for row in range(shown)]
    first, second = (max(map(len, column), default=0) for column in zip(("id", "prediction"), *cells, strict=True))
    lines = [f"{'id':<{first}}  {'prediction':<{second}}  probability"]
    for (identity, name), probability in zip(cells, chosen, strict=True):
        lines.append(f"{identity:<{first}}  {name:<{second}}  {probability:.3f}")
    rest = len(found.ids) - shown
    return [*lines, *([f"... and {rest} more; --out FILE has all, and what each modality says"] if rest else [])]
