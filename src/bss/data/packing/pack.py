"""From raw files to packed arrays, all or nothing."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bss.data.datasets.dataset import Dataset
from bss.data.kinds.kind import Kind
from bss.data.packed import MANIFEST, META, SKIPPED, Meta, ModalityMeta, Scale
from bss.data.packing.blocks import NUM_VALUES, Block, notes, pack_blocks, prepare_array, raw_values
from bss.data.packing.check import ROW, BadData, Finding, check_splits, find_faults
from bss.data.packing.classes import absent_classes, count_classes
from bss.data.packing.scale import Moments, by_number, mean_and_std
from bss.errors import InputError
from bss.files import FULL, full_disk_explained, sync
from bss.locks import held
from bss.progress import progress
from bss.types import PRESENT, Split

if TYPE_CHECKING:
    import polars as pl

CHUNK = 256
"""Rows that are copied at once."""


@dataclass(frozen=True)
class _Rows:
    """Facts, moments and faults, by the numbers of the rows."""

    facts: dict[tuple[str, str], list[Any]]
    """(modality, fact) -> the fact of each row, None where there is none."""
    moments: dict[str, np.ndarray]
    """Modality -> `Moments` of each row, NaN where there are none."""
    faults: list[Finding]


def pack(dataset: Dataset, out: Path, num_workers: int = 1) -> None:
    """Read every pair of `dataset` once and write it to the folder `out`, in the order of its items.

    Everything is written beside `out` first and moved at the end, `meta.json` last: a folder that has one is
    whole. What a killed run has packed already is not packed again. Packing again gives the same bytes, however
    many processes share the work.

    Args:
        dataset: what to pack.
        out: the folder.
        num_workers: processes that may share the work; a script that asks for more than one has to be importable.

    Raises:
        BadData: values cannot be used and `on_bad` is `error`; the message names them.
        FileNotFoundError: the raw files are not there at all.
        InputError: the items are inconsistent, or nothing is left of a class or split.
        DiskFull: there is no room for the arrays; `out` is as it was.
    """
    root = dataset.locate()
    items = dataset.items(root).with_row_index(ROW, offset=1)
    skipped = _sifted(find_faults(items, dataset, root), dataset)
    items = _without(items, skipped)
    check_splits(items, dataset, skipped)
    kinds = fitted(dataset, items, root)
    with full_disk_explained(out), _draft(out) as draft:
        rows = _write_arrays(dataset, kinds, items, root, draft, num_workers)
        late = _sifted(rows.faults, dataset)
        kept = _without(items, late)
        check_splits(kept, dataset, [*skipped, *late])
        for split in Split:
            _write_split(split, items, kept, rows, dataset, draft)
        faults = [*skipped, *late]
        _findings_table(faults).write_parquet(draft / SKIPPED)
        meta = _describe(dataset, kinds, kept, rows, draft, len({fault.row for fault in faults}))
        (draft / META).write_text(meta.model_dump_json(indent=2, exclude_none=True) + "\n")
        _move(draft, out)


class Examined(NamedTuple):
    """What there is to know of a data set before it is packed."""

    findings: list[Finding]
    """The faults of all rows, in their order."""
    counts: "pl.DataFrame"
    """Pairs of each class in each split, of the rows without a fault, see `count_classes`."""


def examine(dataset: Dataset, out: Path, num_workers: int = 1) -> Examined:
    """The faults of all rows of a data set, and its classes; a later `pack` need not decode the values again.

    Raises:
        FileNotFoundError: the raw files are not there at all.
        InputError: the items are inconsistent.
    """
    root = dataset.locate()
    items = dataset.items(root).with_row_index(ROW, offset=1)
    findings = find_faults(items, dataset, root)
    sound = _without(items, findings)
    check_splits(sound, dataset, findings)
    kinds = fitted(dataset, sound, root)
    with full_disk_explained(out), _draft(out, keep=True) as draft:
        rows = _write_arrays(dataset, kinds, sound, root, draft, num_workers)
    return Examined(sorted([*findings, *rows.faults]), count_classes(_without(sound, rows.faults), dataset.classes))


def fitted(dataset: Dataset, items: "pl.DataFrame", root: Path) -> dict[str, Kind]:
    """The kind of each modality with what it learns from the training values.

    Raises:
        InputError: nothing can be learned from them; the message names the modality.
    """
    train = items.filter(items["split"] == Split.TRAIN)
    kinds = {}
    for name, kind in dataset.modalities.items():
        try:
            kinds[name] = kind.fitted(raw_values(train[name].drop_nulls(), root, paths=kind.paths))
        except InputError as error:
            raise InputError(f"{name} of {dataset.name}: {error}") from error
    return kinds


def _sifted(findings: Sequence[Finding], dataset: Dataset) -> Sequence[Finding]:
    if findings and dataset.on_bad == "error":
        raise BadData(dataset.name, findings)
    return findings


def _without(items: "pl.DataFrame", findings: Sequence[Finding]) -> "pl.DataFrame":
    return items.filter(~items[ROW].is_in([finding.row for finding in findings]))


def _write_arrays(
    dataset: Dataset, kinds: Mapping[str, Kind], items: "pl.DataFrame", root: Path, draft: Path, num_workers: int
) -> _Rows:
    """Facts, moments and faults of the rows; the arrays are written into the draft, a row for each item."""
    import polars as pl

    rows_of: dict[Path, pl.DataFrame] = {}
    blocks = []
    for split in Split:
        rows = items.filter(items["split"] == split)
        (draft / split).mkdir(exist_ok=True)
        for name, kind in kinds.items():
            array = draft / split / f"{name}.npy"
            prepare_array(array, kind, len(rows))
            forbidden = None if kind.constant in dataset.allow else kind.constant
            measured = kind.normalised and not kind.by_number and split == Split.TRAIN
            rows_of[array] = rows.select(ROW, "id")
            damages = dataset.damages(rows, name)
            for start in range(0, len(rows), NUM_VALUES):
                part = slice(start, start + NUM_VALUES)
                blocks.append(Block(array, start, kind, rows[name][part], root, forbidden, measured, damages[part]))
    size = max(items[ROW]) + 1
    outcome = _Rows(
        defaultdict(lambda: [None] * size),
        {name: np.full((size, len(Moments._fields)), np.nan) for name in kinds},
        [],
    )
    with progress(len(items) * len(kinds), f"pack {dataset.name}", "values") as advance:
        for block, packed in pack_blocks(blocks, num_workers):
            numbers, ids = rows_of[block.array].slice(block.start, len(block.column)).get_columns()
            name = block.array.stem
            for row, described in zip(numbers, packed.facts, strict=True):
                for fact, value in described.items():
                    outcome.facts[name, fact][row] = value
            for place, values in packed.moments.items():
                outcome.moments[name][numbers[place]] = values
            for place, reason in packed.faults.items():
                is_path = block.kind.paths and block.column.dtype == pl.String
                source = block.column[place] if is_path else name
                outcome.faults.append(Finding(numbers[place], ids[place], source, reason))
            advance(len(numbers))
    outcome.faults.sort()
    return outcome


def _write_split(
    split: Split,
    items: "pl.DataFrame",
    kept: "pl.DataFrame",
    outcome: _Rows,
    dataset: Dataset,
    draft: Path,
) -> None:
    """The manifest of the rows that are kept, and the arrays without the others."""
    of_split = items.filter(items["split"] == split)
    is_kept = of_split[ROW].is_in(kept[ROW].to_list()).to_numpy()
    for name in dataset.modalities:
        array = draft / split / f"{name}.npy"
        for note in notes(array):
            note.unlink()
        if not is_kept.all():
            _keep_rows(array, np.flatnonzero(is_kept))
    _manifest(of_split.filter(is_kept), dataset, outcome.facts).write_parquet(draft / split / MANIFEST)


def _keep_rows(path: Path, rows: np.ndarray) -> None:
    whole = np.load(path, mmap_mode="r", allow_pickle=False)
    part = path.with_suffix(".part")
    kept = np.lib.format.open_memmap(part, mode="w+", dtype=whole.dtype, shape=(len(rows), *whole.shape[1:]))
    for start in range(0, len(rows), CHUNK):
        kept[start : start + CHUNK] = whole[rows[start : start + CHUNK]]
    kept.flush()
    part.replace(path)


def _manifest(
    rows: "pl.DataFrame", dataset: Dataset, facts: Mapping[tuple[str, str], Sequence[Any]]
) -> "pl.DataFrame":
    """One row a pair: index, id, label (a number), class, split, a column a modality, further columns, the facts."""
    import polars as pl

    number = {name: label for label, name in enumerate(dataset.classes)}
    first = ["id", "label", "class", "split", *dataset.modalities]
    manifest = rows.with_columns(
        pl.col("label").replace_strict(number, return_dtype=pl.Int64), pl.col("label").alias("class")
    )
    described = []
    for name in dataset.modalities:
        if dataset.missing == "mask":
            described.append(rows[name].is_not_null().alias(f"{name}{PRESENT}"))
        for (modality, fact), values in facts.items():
            if modality == name:
                described.append(pl.Series(f"{name}_{fact}", [values[row] for row in rows[ROW]]))
    others = [name for name in rows.columns if name not in (ROW, *first)]
    return manifest.select(*first, *others).with_columns(*described).with_row_index("index")


def _findings_table(findings: Sequence[Finding]) -> "pl.DataFrame":
    import polars as pl

    schema = {ROW: pl.Int64, "id": pl.String, "source": pl.String, "reason": pl.String}
    rows = [(finding.row, str(finding.id), finding.source, finding.what) for finding in sorted(findings)]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _describe(
    dataset: Dataset, kinds: Mapping[str, Kind], items: "pl.DataFrame", outcome: _Rows, draft: Path, num_skipped: int
) -> Meta:
    train = items.filter(items["split"] == Split.TRAIN)
    modalities = {}
    for name, kind in kinds.items():
        mean: Scale
        std: Scale
        if kind.by_number:
            array = np.load(draft / Split.TRAIN / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            mean, std = by_number(array, np.flatnonzero(train[name].is_not_null()))
        else:
            measured = outcome.moments[name][train[ROW].to_numpy()]
            mean, std = mean_and_std(measured[~np.isnan(measured).any(axis=1)])
        modalities[name] = ModalityMeta(
            kind=kind.name,
            shape=kind.shape,
            mean=mean,
            std=std,
            encoder=kind.encoder,
            tokens=kind.tokens,
            padding=kind.padding or None,
            dimensions=kind.dimensions,
        )
    return Meta(
        dataset=dataset.name,
        classes=dataset.classes,
        modalities=modalities,
        num_pairs={split: int((items["split"] == split).sum()) for split in Split},
        num_skipped=num_skipped,
        masked=dataset.missing == "mask",
        absent_classes=absent_classes(count_classes(items, dataset.classes)) or None,
    )


@contextmanager
def _draft(out: Path, *, keep: bool = False) -> Iterator[Path]:
    """The folder beside `out` that is packed into; it stays where the block fails, for the next run to go on."""
    draft = out.with_name(f".packing-{out.name}")
    draft.mkdir(parents=True, exist_ok=True)
    with held(draft / "lock", f"process {{pid}} is packing {out}; wait for it or stop it"):
        try:
            yield draft
        except OSError as error:
            if error.errno in FULL:  # what is there takes the room
                shutil.rmtree(draft)
            raise
        if not keep:
            shutil.rmtree(draft)


def _move(draft: Path, out: Path) -> None:
    for part in [*draft.rglob("*"), draft]:
        sync(part)
    (out / META).unlink(missing_ok=True)
    for split in Split:
        shutil.rmtree(out / split, ignore_errors=True)
    out.mkdir(exist_ok=True)
    for part in [*Split, SKIPPED, META]:
        (draft / part).replace(out / part)
