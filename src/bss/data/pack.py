"""From raw files to packed arrays, all or nothing."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bss.data.dataset import Dataset
from bss.data.kinds.kind import Kind
from bss.data.packed import MANIFEST, META, Meta, ModalityMeta
from bss.files import TEMPORARY, owner, sync, told_when_full
from bss.registry import UnknownName
from bss.types import Split

if TYPE_CHECKING:
    import polars as pl
    from tqdm import tqdm

CHUNK = 256  # samples whose statistics are summed at once


def pack(dataset: Dataset, out: Path) -> None:
    """Reads every pair of `dataset` once and writes it to the folder `out`, in the order of its items.

    Everything is written beside `out` first and moved at the end, `meta.json` last: a folder that has one is
    whole. Packing again gives the same bytes.

    Raises:
        FileNotFoundError: a raw file is missing.
        ValueError: a raw file or value cannot be used, or the items are inconsistent; the message names it.
        DiskFull: there is no room for the arrays; `out` is as it was.
    """
    root = dataset.locate()
    items = dataset.items(root)
    check(items, dataset)
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        told_when_full(out),
        tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}{out.name}-", suffix=owner(), dir=out.parent) as name,
    ):
        draft = Path(name)
        kinds = fitted(dataset, items, root)
        _write_splits(dataset, kinds, items, root, draft)
        meta = _describe(dataset, kinds, items, draft / Split.TRAIN)
        (draft / META).write_text(meta.model_dump_json(indent=2, exclude_none=True) + "\n")
        for part in [*draft.rglob("*"), draft]:
            sync(part)
        _move(draft, out)


def check(items: "pl.DataFrame", dataset: Dataset) -> None:
    """Refuses items that contradict what `dataset` declares.

    Raises:
        ValueError: a column is missing, a split or label unknown, an id double, a split empty, or a class
            has no training pair.
    """
    if missing := {"id", "label", "split", *dataset.modalities} - set(items.columns):
        raise ValueError(f"the items of {dataset.name} lack the columns {sorted(missing)}")
    for column, known in [("split", tuple(Split)), ("label", dataset.classes)]:
        for value in items[column].unique().sort():
            if value not in known:
                raise UnknownName(f"{column} of {dataset.name}", value, known)
    if double := items["id"].filter(items["id"].is_duplicated()).unique().sort().to_list():
        raise ValueError(f"{dataset.name}: ids {double[:5]} are used more than once")
    for split in Split:
        if split not in set(items["split"]):
            raise ValueError(f"{dataset.name}: the split '{split}' is empty")
    trained = set(items["label"].filter(items["split"] == Split.TRAIN))
    if untrained := [name for name in dataset.classes if name not in trained]:
        raise ValueError(f"{dataset.name}: no training pair of the classes {untrained}")


def fitted(dataset: Dataset, items: "pl.DataFrame", root: Path) -> dict[str, Kind]:
    """The kind of each modality with what it learns from the training values.

    Raises:
        ValueError: nothing can be learned from them; the message names the modality.
    """
    train = items.filter(items["split"] == Split.TRAIN)
    kinds = {}
    for name, kind in dataset.modalities.items():
        try:
            kinds[name] = kind.fitted(raw_values(train[name], root, paths=kind.paths))
        except ValueError as error:
            raise ValueError(f"{name} of {dataset.name}: {error}") from error
    return kinds


def raw_values(column: "pl.Series", root: Path, *, paths: bool) -> list[Any]:
    """The values of a modality's column as its kind reads them: paths below `root`, texts or arrays.

    Args:
        column: of the items or of the manifest.
        root: what paths start from.
        paths: whether strings are paths, as the kind says.
    """
    import polars as pl

    if column.dtype == pl.String and paths:
        return [root / value for value in column]
    return list(column.to_numpy()) if isinstance(column.dtype, pl.Array) else column.to_list()


def moments(array: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation over all values, in float64; a constant array has deviation 1."""
    chunks = [array[start : start + CHUNK] for start in range(0, len(array), CHUNK)]
    mean = sum(chunk.sum(dtype=np.float64) for chunk in chunks) / array.size
    variance = sum(np.square(chunk.astype(np.float64) - mean).sum() for chunk in chunks) / array.size
    return float(mean), float(np.sqrt(variance)) or 1.0


def _write_splits(
    dataset: Dataset, kinds: Mapping[str, Kind], items: "pl.DataFrame", root: Path, draft: Path
) -> None:
    from tqdm import tqdm

    with tqdm(total=len(items) * len(kinds), desc=f"pack {dataset.name}", unit="value", disable=None) as bar:
        for split in Split:
            rows = items.filter(items["split"] == split)
            folder = draft / split
            folder.mkdir()
            facts = {}
            for name, kind in kinds.items():
                values = raw_values(rows[name], root, paths=kind.paths)
                facts[name] = _write(folder / f"{name}.npy", kind, list(rows["id"]), values, bar)
            _manifest(rows, dataset, facts).write_parquet(folder / MANIFEST)


def _write(
    path: Path, kind: Kind, ids: Sequence[str], values: Sequence[Any], bar: "tqdm[Any]"
) -> list[dict[str, float | str]]:
    packed = _array(path, kind, len(ids))
    facts = []
    for row, (identity, value) in enumerate(zip(ids, values, strict=True)):
        packed[row] = _read(kind, value, f"{path.stem} of pair '{identity}'")
        facts.append(kind.describe(value))
        bar.update()
    packed.flush()
    return facts


def _array(path: Path, kind: Kind, num_pairs: int) -> np.memmap:
    """A new packed array that has its room: in a file with holes a full disk would kill the process by SIGBUS."""
    packed = np.lib.format.open_memmap(path, mode="w+", dtype=kind.dtype, shape=(num_pairs, *kind.shape))
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return packed


def _read(kind: Kind, value: Any, what: str) -> np.ndarray:
    try:
        array = kind.read(value)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    source = value if isinstance(value, Path) else "its value"
    if array.shape != kind.shape:
        raise ValueError(f"{what}: {source} has shape {array.shape}, {kind.shape} is declared")
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: {source} gives values that are not finite")
    return array


def _manifest(
    rows: "pl.DataFrame", dataset: Dataset, facts: Mapping[str, list[dict[str, float | str]]]
) -> "pl.DataFrame":
    """index, id, label (a number), class, split, a column a modality, what `items` had beside, the facts."""
    import polars as pl

    number = {name: label for label, name in enumerate(dataset.classes)}
    first = ["id", "label", "class", "split", *dataset.modalities]
    manifest = rows.with_columns(
        pl.col("label").replace_strict(number, return_dtype=pl.Int64), pl.col("label").alias("class")
    )
    described = [
        pl.Series(f"{name}_{fact}", [entry[fact] for entry in entries])
        for name, entries in facts.items()
        for fact in entries[0]
    ]
    others = [name for name in rows.columns if name not in first]
    return manifest.select(*first, *others).with_columns(*described).with_row_index("index")


def _describe(dataset: Dataset, kinds: Mapping[str, Kind], items: "pl.DataFrame", train: Path) -> Meta:
    modalities = {}
    for name, kind in kinds.items():
        mean, std = (
            moments(np.load(train / f"{name}.npy", mmap_mode="r", allow_pickle=False))
            if kind.normalised
            else (0.0, 1.0)
        )
        modalities[name] = ModalityMeta(
            kind=type(kind).__name__.lower(),
            shape=kind.shape,
            mean=mean,
            std=std,
            encoder=kind.encoder,
            tokens=kind.tokens,
        )
    return Meta(
        dataset=dataset.name,
        classes=dataset.classes,
        modalities=modalities,
        num_pairs={split: int((items["split"] == split).sum()) for split in Split},
    )


def _move(draft: Path, out: Path) -> None:
    (out / META).unlink(missing_ok=True)
    for split in Split:
        shutil.rmtree(out / split, ignore_errors=True)
    out.mkdir(exist_ok=True)
    for part in [*Split, META]:
        (draft / part).replace(out / part)
