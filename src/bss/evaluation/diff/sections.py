"""A difference as tables: a section for each kind of artifact that changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from bss.evaluation.comparing.statistics import PairedDifference
from bss.evaluation.diff.difference import Difference
from bss.evaluation.diff.models import CONFIDENCE, FIXED, Flips
from bss.evaluation.diff.scores import SHARES, TOLERANCE, ScoreDifference, movement_by_class
from bss.evaluation.diff.sequences import DrawDifference, SequenceDifference
from bss.evaluation.diff.summary import number, value
from bss.evaluation.page.section import Section, Table
from bss.evaluation.page.words import ABSENT, interval, level, percent, shortened
from bss.types import Split

CLASS = 12
"""Characters that a class's name has at most in a table."""
VALUE = 24
"""Characters that a value of params.yaml has at most in a table."""
METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "mean_average_precision": "mAP",
    "auc": "AUC",
}


LONG = 20
"""Rows of a table that are in sight; one with more is folded away."""
FLIPPED = "Flipped: "


def sections(difference: Difference, top: int) -> list[Section]:
    """The sections in the order of the stages, tables alone; of a list of pairs the first `top` rows."""
    tables: dict[str, Iterator[Table]] = {
        "Params": _params(difference),
        "Data": _data(difference, top),
        "Scores": _scores(difference, top),
        "Sequences": _sequences(difference, top),
        "Draws": _draws(difference, top),
        "Models": _models(difference, top),
        "Added and removed": _whole(difference),
    }
    shown = {title: [_shown(table) for table in of_kind if table.rows] for title, of_kind in tables.items()}
    return [Section(title, of_kind) for title, of_kind in shown.items() if of_kind]


def _shown(table: Table) -> Table:
    return replace(table, headed=True, folded=len(table.rows) > LONG or table.title.startswith(FLIPPED))


def _params(difference: Difference) -> Iterator[Table]:
    rows = [
        (one.key, shortened(value(one.before), VALUE), shortened(value(one.after), VALUE))
        for one in difference.params
    ]
    yield Table("params.yaml", ("key", "before", "after"), rows)


def _data(difference: Difference, top: int) -> Iterator[Table]:
    data = difference.data
    if data is None:
        return
    lists = {"added": data.added, "removed": data.removed, "relabelled": data.relabelled}
    contents = {f"other {name[0]}": rows for name, rows in data.content.group_by("modality", maintain_order=True)}
    counts = [
        (split.value, *(f"{num.get(split.value, 0):,}" for num in (data.num_before, data.num_after)),
         *(f"{len(table.filter(split=split.value)):,}" for table in (lists | contents).values()))
        for split in Split
    ]  # fmt: skip
    yield Table("Pairs by split", ("split", "before", "after", *lists, *contents), counts)
    yield Table("Modalities", ("modality", "before", "after"), data.modalities)
    yield _pairs("Moved to another split", data.moved, ("class", "before", "after"), top)
    yield _pairs("Relabelled", data.relabelled, ("split", "before", "after"), top)
    for name, table in {"Added": data.added, "Removed": data.removed, **contents}.items():
        yield _pairs(name[0].upper() + name[1:], table, ("split", "class"), top)


def _scores(difference: Difference, top: int) -> Iterator[Table]:
    if not difference.scores:
        return
    ends = [f"{end} {share:.0%}" for share in SHARES for end in ("top", "last")]
    note = (
        "Training pairs alone have scores. Over the pairs that both have: Spearman's rank correlation, and how "
        "many % of the most and of the least balanced are still among them."
    )
    yield Table(
        "By seed", ("seed", "pairs", "correlation", *ends), [_agreement(one) for one in difference.scores], note
    )
    criteria = [(name, str(one.seed), value) for one in difference.scores for name, value in one.criteria.items()]
    rows = [(name, seed, number(value)) for name, seed, value in criteria]
    yield Table("Rank correlation of each criterion", ("criterion", "seed", "correlation"), rows)
    moved = pl.concat([one.moved.with_columns(seed=pl.lit(str(one.seed))) for one in difference.scores])
    yield _by_class(moved)
    first = moved.sort(pl.col("movement").abs(), descending=True, maintain_order=True)
    yield _pairs("Pairs that moved most", first, ("class", "seed", "before", "after", "movement"), top)


def _agreement(one: ScoreDifference) -> tuple[str, ...]:
    shares = [percent(share) for overlap in one.overlaps for share in (overlap.most, overlap.least)]
    shares = shares or [ABSENT] * (2 * len(SHARES))
    return f"{one.seed}", f"{one.num_common:,}", number(one.correlation), *shares


def _by_class(moved: pl.DataFrame) -> Table:
    note = "Change of the normalised rank, in [-1, 1]; upwards is towards balance. Pairs of all seeds."
    rows = [
        (shortened(row["class"], VALUE), f"{row['num_pairs']:,}", f"{row['movement']:+.3f}", f"{row['distance']:.3f}")
        for row in movement_by_class(moved).iter_rows(named=True)
    ]
    return Table("Movement by class", ("class", "pairs", "mean", "mean distance"), rows, note)


def _sequences(difference: Difference, top: int) -> Iterator[Table]:
    note = (
        "Means over the epochs: Jaccard overlap of the sets of samples, overlap with the numbers of their draws, "
        "displacement of the common samples as a share of the epoch. Distance: total variation between the "
        "distributions of draws. A scheduler that draws during training has a dash; of it the probabilities to "
        "start from are compared."
    )
    rows = [_laid_out(one) for one in difference.sequences]
    yield Table("As laid out", ("sequence", "epochs", "sets", "draws", "displacement", "distance"), rows, note)
    drawn = {f"{one.scheduler}-{one.seed}": one.draws for one in difference.sequences}
    yield _most_drawn("Samples laid out more or less often", drawn, top)


def _laid_out(one: SequenceDifference) -> tuple[str, ...]:
    before, after = one.num_epochs_before, one.num_epochs_after
    means = [_mean(one.epochs[name]) for name in ("jaccard", "overlap", "displacement")]
    epochs = f"{before}" if before == after else f"{before} -> {after}"
    return f"{one.scheduler}-{one.seed}", epochs, *means, number(one.draws.distance)


def _draws(difference: Difference, top: int) -> Iterator[Table]:
    drawn = {"-".join(map(str, cell)): one for cell, one in difference.draws.items()}
    rows = [
        (name, f"{one.num_before:,.0f}", f"{one.num_after:,.0f}", number(one.distance)) for name, one in drawn.items()
    ]
    note = "What training has drawn, all epochs together. Distance: total variation, in [0, 1]."
    yield Table("By cell", ("cell", "before", "after", "distance"), rows, note)
    yield _most_drawn("Samples drawn more or less often", drawn, top)


def _most_drawn(title: str, drawn: Mapping[str, DrawDifference], top: int) -> Table:
    others = pl.col("change").abs() > TOLERANCE
    tables = [one.drawn.filter(others).head(top).with_columns(of=pl.lit(name)) for name, one in drawn.items()]
    header = ("id", "of", "before", "after", "change")
    if not tables:
        return Table(title, header, ())
    first = pl.concat(tables).sort(pl.col("change").abs(), descending=True, maintain_order=True).head(top)
    rows = [
        (name, of, *(f"{1000 * share:.3f}" for share in (before, after)), f"{1000 * change:+.3f}")
        for name, of, before, after, change in first.select(header).iter_rows()
    ]
    return Table(title, header, rows, "Of 1,000 draws.")


def _models(difference: Difference, top: int) -> Iterator[Table]:
    note = (
        "After against before, points of accuracy on the test split, with the "
        f"{level(CONFIDENCE)} interval over the paired seeds."
    )
    rows = [
        (f"{one.method}-{one.scheduler} {one.output}", _estimate(one.accuracy), f"{one.accuracy.num_pairs}")
        for one in difference.over_seeds
    ]
    yield Table("Over the seeds", ("output", "difference", "seeds"), rows, note)
    yield _by_cell(difference)
    yield Table("Metrics", ("output", *METRICS.values()), list(_metrics(difference)), "In %, before and after.")
    yield Table("Training", ("cell", "before", "after"), list(_budgets(difference)))
    for model in difference.models:
        for one in model.judged:
            yield _flipped(f"{model.name}, {one.output}", one, top)


def _by_cell(difference: Difference) -> Table:
    note = (
        "Over the test pairs that both have: points of accuracy with the "
        f"{level(CONFIDENCE)} interval of the paired bootstrap over "
        "pairs, wrong to right, right to wrong, p of McNemar's exact test (not corrected for the number of rows)."
    )
    rows = [
        (
            f"{model.name} {one.output}",
            _estimate(one.accuracy),
            f"{one.num_fixed}",
            f"{one.num_broken}",
            f"{one.p:.3f}",
        )
        for model in difference.models
        for one in model.flips.values()
    ]
    return Table("By cell", ("output", "difference", "fixed", "broken", "p"), rows, note)


def _budgets(difference: Difference) -> Iterator[tuple[str, ...]]:
    """Steps and samples, which are the same for all outputs of a cell."""
    for model in difference.models:
        counts = model.metrics.filter(pl.col("metric").str.starts_with("num_"))
        for row in counts.unique("metric", maintain_order=True).iter_rows(named=True):
            name = f"{model.name} {row['metric'].removeprefix('num_')}"
            yield name, *(ABSENT if row[side] is None else f"{row[side]:,.0f}" for side in ("before", "after"))


def _metrics(difference: Difference) -> Iterator[tuple[str, ...]]:
    for model in difference.models:
        for output, table in model.metrics.group_by("output", maintain_order=True):
            values = {row["metric"]: f"{percent(row['before'])} {percent(row['after'])}" for row in table.to_dicts()}
            if values.keys() & METRICS.keys():
                yield (f"{model.name} {output[0]}", *(values.get(name, ABSENT) for name in METRICS))


def _flipped(title: str, flips: Flips, top: int) -> Table:
    """The first `top` of the fixed ones, then of the broken ones."""
    kinds = flips.flipped.filter(pl.col("flip") != "other").partition_by("flip", maintain_order=True)
    kinds.sort(key=lambda table: table["flip"][0] != FIXED)
    rows = [row for table in kinds for row in _pairs("", table, ("flip", "class", "before", "after"), top).rows]
    note = f"{flips.num_fixed} fixed, {flips.num_broken} broken; class and what was predicted for it."
    return Table(f"{FLIPPED}{title}", ("id", "flip", "class", "before", "after"), rows, note)


def _whole(difference: Difference) -> Iterator[Table]:
    rows = [
        (name, word)
        for word, names in (("added", difference.added), ("removed", difference.removed))
        for name in names
    ]
    yield Table("Artifacts that one side alone has", ("artifact", ""), rows)


def _pairs(title: str, table: pl.DataFrame, columns: Sequence[str], top: int) -> Table:
    rows = [(row["id"], *(_cell(row[name]) for name in columns)) for row in table.head(top).iter_rows(named=True)]
    note = f"The first {top} of {len(table):,}." if len(table) > top else ""
    return Table(title, ("id", *columns), rows, note)


def _cell(value: Any) -> str:
    return f"{value:+.3f}" if isinstance(value, float) else shortened(str(value), CLASS)


def _estimate(accuracy: PairedDifference) -> str:
    return interval(accuracy.mean, accuracy.low, accuracy.high)


def _mean(values: pl.Series) -> str:
    known = values.drop_nulls().drop_nans()
    return number(float(known.mean())) if len(known) else ABSENT  # type: ignore[arg-type]
