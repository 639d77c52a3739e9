"""What two snapshots differ in: each number against a slow, obvious reference, and each list against its case."""

import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import bootstrap

from bss.data.packed import Meta, ModalityMeta
from bss.evaluation.diff.data import changed_rows, data_difference
from bss.evaluation.diff.difference import difference
from bss.evaluation.diff.models import flip_difference, flips, model_difference, seed_differences
from bss.evaluation.diff.params import param_differences
from bss.evaluation.diff.scores import normalised_ranks, score_difference
from bss.evaluation.diff.sequences import (
    displacement,
    draw_difference,
    jaccard,
    multiset_overlap,
    sequence_difference,
)
from bss.evaluation.diff.snapshot import Snapshot
from bss.evaluation.diff.summary import number
from bss.evaluation.diff.text import format_text
from bss.paths import Cell
from bss.types import Split

RNG = np.random.default_rng(0)
CLASSES = ("cat", "dog")


def scored(ids: list[str], scores: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"id": ids, "class": [CLASSES[len(name) % 2] for name in ids], "balance_score": scores})


def test_scores_are_ranked_among_the_common_pairs() -> None:
    ids = [f"pair {number}" for number in range(40)]
    before, after = scored(ids[:-4], RNG.normal(size=36).round(1)), scored(ids[3:], RNG.normal(size=37).round(1))
    found = score_difference(0, before, after.sample(fraction=1, shuffle=True, seed=0))
    assert (found.num_before, found.num_after, found.num_common) == (36, 37, 33)
    old, new = (dict(zip(table["id"], table["balance_score"], strict=True)) for table in (before, after))
    common = [name for name in ids if name in old and name in new]

    def rank(scores: dict[str, float], name: str) -> float:
        below = sum(scores[other] < scores[name] for other in common)
        equal = sum(scores[other] == scores[name] for other in common)
        return (below + (equal - 1) / 2) / (len(common) - 1)

    movement = {name: rank(new, name) - rank(old, name) for name in common}
    assert dict(found.moved.select("id", "movement").rows()) == pytest.approx(movement)
    furthest = [abs(value) for value in found.moved["movement"]]
    assert furthest == sorted(furthest, reverse=True)
    ranks = [[rank(scores, name) for name in common] for scores in (old, new)]
    assert found.correlation == pytest.approx(statistics.correlation(*ranks))
    by_class = {row["class"]: row for row in found.by_class.to_dicts()}
    dogs = [movement[name] for name in common if len(name) % 2]
    assert by_class["dog"]["distance"] == pytest.approx(np.mean(np.abs(dogs)))
    assert by_class["dog"]["movement"] == pytest.approx(np.mean(dogs))
    assert by_class["dog"]["num_pairs"] == len(dogs)


def test_the_overlap_counts_those_at_either_end_of_both() -> None:
    ids, old, new = [f"{number:03}" for number in range(200)], RNG.normal(size=200), RNG.normal(size=200)
    found = score_difference(1, scored(ids, old), scored(ids, new))
    assert [(one.share, one.k) for one in found.overlaps] == [(0.01, 2), (0.1, 20), (0.5, 100)]
    for one in found.overlaps:
        orders = [sorted(range(200), key=scores.tolist().__getitem__) for scores in (old, new)]
        tops, ends = ([set(part) for part in parts] for parts in (
            [order[-one.k :] for order in orders], [order[: one.k] for order in orders]))  # fmt: skip
        assert one.most == len(tops[0] & tops[1]) / one.k
        assert one.least == len(ends[0] & ends[1]) / one.k


def test_equal_scores_are_no_change_and_neither_are_last_bits() -> None:
    ids, scores = ["a", "b", "c"], np.array([0.1, 0.5, 0.9])
    assert not score_difference(0, scored(ids, scores), scored(ids, scores + 1e-12)).changed
    assert score_difference(0, scored(ids, scores), scored(ids, scores + 1e-6)).changed
    assert score_difference(0, scored(ids, scores), scored(ids[:2], scores[:2])).changed
    assert normalised_ranks([7.0]).tolist() == [0.5]


@pytest.mark.parametrize("seed", range(4))
def test_sequences_overlap_as_sets_and_as_multisets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (rng.integers(30, size=size) for size in (20, 25))
    one, other = set(first.tolist()), set(second.tolist())
    assert jaccard(first, second) == len(one & other) / len(one | other)
    draws = Counter(first.tolist()), Counter(second.tolist())
    assert multiset_overlap(first, second) == (draws[0] & draws[1]).total() / 25
    shifts = [abs(first.tolist().index(sample) - second.tolist().index(sample)) for sample in one & other]
    assert displacement(first, second) == pytest.approx(sum(shifts) / len(shifts) / 25)
    assert jaccard(first, first) == multiset_overlap(first, first) == 1
    assert displacement(first, first) == 0
    assert np.isnan(displacement([1], [2]))


def test_draws_differ_by_the_total_variation() -> None:
    before = pl.DataFrame({"id": ["a", "b", "c"], "num_draws": [5, 3, 2]})
    after = pl.DataFrame({"id": ["d", "b", "a"], "num_draws": [4, 8, 8]})
    found = draw_difference(before, after)
    shares = {"a": (0.5, 0.4), "b": (0.3, 0.4), "c": (0.2, 0.0), "d": (0.0, 0.2)}
    assert found.distance == pytest.approx(sum(abs(old - new) for old, new in shares.values()) / 2)
    rows = {name: (old, new) for name, old, new in found.drawn.select("id", "before", "after").rows()}
    assert rows == {name: pytest.approx(pair) for name, pair in shares.items()}
    assert found.drawn["id"].head(2).to_list() == ["c", "d"]
    assert found.changed
    assert not draw_difference(before, before.reverse()).changed


def test_a_small_change_is_not_rounded_away(tmp_path: Path) -> None:
    ids = [f"{name:04}" for name in range(2000)]
    order = list(range(2000))
    first = plan(tmp_path / "a/data/curricula/heuristic-0", ids, [order, order[::-1]])
    second = plan(tmp_path / "b/data/curricula/heuristic-0", ids, [order[::-1], [*order[:0:-1], 1]])
    found = difference(*(Snapshot(name, tmp_path / name) for name in ("a", "b")))
    assert sequence_difference("heuristic", 0, first, second).changed
    assert (
        format_text(found, 3).splitlines()[1] == "sequences: heuristic epochs overlap by >0.999, displaced by 0.250"
    )
    assert [line.split()[0] for line in format_text(found, 3).splitlines()[-2:]] == ["0000", "0001"]
    assert [number(value) for value in (0, 1e-4, 5e-4, 1 - 1e-4, 1, -1e-4)] == [
        "0.000", "<0.001", "0.001", ">0.999", "1.000", "-0.000",
    ]  # fmt: skip


def plan(folder: Path, ids: list[str], epochs: list[list[int]] | None) -> Path:
    """A folder of the stage curriculum; without epochs the samples are drawn, the first most often."""
    folder.mkdir(parents=True)
    shares = [None] * len(ids) if epochs else [0.5, *[0.5 / (len(ids) - 1)] * (len(ids) - 1)]
    scores = np.arange(len(ids), dtype=float)
    order = {"index": range(len(ids)), "id": ids, "balance_score": scores, "probability": shares}
    pl.DataFrame(order, schema_overrides={"probability": pl.Float64}).write_parquet(folder / "order.parquet")
    rows: Sequence[list[int] | None] = epochs or [None, None]
    table = {"epoch": range(len(rows)), "indices": pl.Series(rows, dtype=pl.List(pl.Int32))}
    pl.DataFrame(table, schema_overrides={"epoch": pl.Int32}).write_parquet(folder / "sequence.parquet")
    return folder


def test_a_sequence_is_compared_by_ids_not_by_indices(tmp_path: Path) -> None:
    before = plan(tmp_path / "a", ["x", "y", "z"], [[0, 1], [2, 2, 0]])
    turned = plan(tmp_path / "b", ["z", "y", "x"], [[2, 1], [0, 0, 2]])
    assert not sequence_difference("full", 0, before, turned).changed
    other = plan(tmp_path / "c", ["z", "y", "x"], [[1, 2], [0, 0, 1], [1]])
    found = sequence_difference("full", 0, before, other)
    assert (found.changed, found.recorded, found.num_epochs_before, found.num_epochs_after) == (True, True, 2, 3)
    assert found.epochs.select("jaccard", "overlap", "displacement").rows() == [(1, 1, 0.5), (1 / 3, 2 / 3, 0)]
    assert found.draws.num_before == found.draws.num_after == 5
    assert found.draws.distance == pytest.approx(1 / 5)


def test_where_samples_are_drawn_the_probabilities_are_compared(tmp_path: Path) -> None:
    before, after = plan(tmp_path / "a", ["x", "y", "z"], None), plan(tmp_path / "b", ["z", "y", "x"], None)
    found = sequence_difference("learned", 0, before, after)
    assert (found.recorded, len(found.epochs)) == (False, 0)
    assert found.draws.distance == pytest.approx(0.25)


def predicted(ids: list[str], classes: list[str], predictions: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"id": ids, "class": classes, "prediction": predictions, "output": "fused"})


def test_flips_are_counted_one_by_one() -> None:
    ids = [f"{number}" for number in range(60)]
    labels, old, new = ([str(value) for value in RNG.integers(3, size=60)] for _ in range(3))
    found = flips("fused", predicted(ids, labels, old), predicted(ids[::-1], labels[::-1], new[::-1]))
    fixed = [name for name, label, was, now in zip(ids, labels, old, new, strict=True) if was != label == now]
    broken = [name for name, label, was, now in zip(ids, labels, old, new, strict=True) if was == label != now]
    assert found.flipped.filter(flip="fixed")["id"].to_list() == fixed
    assert found.flipped.filter(flip="broken")["id"].to_list() == broken
    assert len(found.flipped) == sum(was != now for was, now in zip(old, new, strict=True))
    assert (found.num_common, found.num_fixed, found.num_broken) == (60, len(fixed), len(broken))
    assert found.accuracy.mean == pytest.approx((len(fixed) - len(broken)) / 60)
    outcomes = list(product((0, 1), repeat=7))  # of a fair coin for each of seven flips
    as_far = [sum(one) for one in outcomes if abs(sum(one) - 3.5) >= abs(2 - 3.5)]
    few = flips("fused", predicted(ids[:9], ["a"] * 9, ["b"] * 2 + ["a"] * 7),
                predicted(ids[:9], ["a"] * 9, ["a"] * 4 + ["b"] * 5))  # fmt: skip
    assert (few.num_fixed, few.num_broken) == (2, 5)
    assert few.p == pytest.approx(len(as_far) / len(outcomes))


def test_the_interval_is_that_of_drawing_the_pairs_anew() -> None:
    of_each = np.repeat([1, -1, 0], [14, 9, 334])
    slow = bootstrap((of_each,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1))
    found = flip_difference(14, 9, 357)
    assert (found.low, found.high) == pytest.approx(tuple(slow.confidence_interval), abs=0.003)
    assert found == flip_difference(14, 9, 357)
    assert np.isnan(flip_difference(0, 0, 0).mean)


def test_a_relabelled_pair_is_right_by_its_own_class() -> None:
    found = flips("fused", predicted(["x"], ["cat"], ["cat"]), predicted(["x"], ["dog"], ["cat"]))
    assert found.flipped.rows(named=True) == [
        {"id": "x", "flip": "broken", "class": "dog", "before": "cat", "after": "cat"}
    ]


def test_metrics_are_told_that_differ() -> None:
    before = pl.DataFrame({"output": ["fused", "audio"], "accuracy": [0.5, 0.4], "auc": [0.7, None], "num_steps": 9})
    after = pl.DataFrame({"output": ["fused", "image"], "accuracy": [0.6, 0.4], "auc": [0.7, 0.1], "num_steps": 9})
    found = model_difference(("joint", "random", 0), (before, after), None)
    changes = {(row["output"], row["metric"]): (row["before"], row["after"]) for row in found.metrics.to_dicts()}
    assert changes["fused", "accuracy"] == (0.5, 0.6)
    assert ("fused", "auc") not in changes
    assert ("fused", "num_steps") not in changes
    assert changes["audio", "accuracy"] == (0.4, None)
    assert changes["image", "auc"] == (None, 0.1)
    assert not model_difference(("joint", "random", 0), (before, before), None).changed


def test_the_mean_over_seeds_is_paired() -> None:
    values = {0: (0.5, 0.6), 1: (0.7, 0.9), 2: (0.1, 0.1)}
    before, after = ({Cell("joint", "random", seed): pl.DataFrame({"output": ["fused"], "accuracy": [pair[side]]})
                      for seed, pair in values.items()} for side in (0, 1))  # fmt: skip
    (found,) = seed_differences((before, after | {Cell("joint", "random", 3): after[Cell("joint", "random", 0)]}))
    assert found.accuracy.num_pairs == 3
    assert found.accuracy.mean == pytest.approx(0.1)
    assert found.accuracy.mean - found.accuracy.low == pytest.approx(4.302653 * 0.1 / 3**0.5)


def test_params_are_told_by_their_dotted_keys() -> None:
    before = {"train": {"epochs": 3, "lr": 0.1}, "encoders": {}, "seeds": [0, 1]}
    after = {"train": {"epochs": 4, "lr": 0.1}, "encoders": {"audio": {"name": "mlp"}}, "seeds": [0]}
    found = [(one.key, one.before, one.after) for one in param_differences(before, after)]
    assert found == [
        ("train.epochs", 3, 4), ("encoders", {}, None), ("seeds", [0, 1], [0]), ("encoders.audio.name", None, "mlp"),
    ]  # fmt: skip


def packed(folder: Path, rows: dict[str, list[tuple[str, str, list[int]]]]) -> Path:
    """A packed data set of one modality: split -> id, class and values of each pair."""
    shape = ModalityMeta(kind="features", shape=(2,), mean=0, std=1, encoder="mlp")
    num_pairs = {split: len(rows.get(split.value, [])) for split in Split}
    meta = Meta(dataset="made", classes=CLASSES, modalities={"touch": shape}, num_pairs=num_pairs)
    (folder / "data/packed").mkdir(parents=True)
    (folder / "data/packed/meta.json").write_text(meta.model_dump_json())
    for split, pairs in rows.items():
        place = folder / "data/packed" / split
        place.mkdir()
        np.save(place / "touch.npy", np.array([values for *_, values in pairs], dtype=np.int16).reshape(-1, 2))
        table = {"id": [pair[0] for pair in pairs], "class": [pair[1] for pair in pairs]}
        pl.DataFrame(table, schema={"id": pl.String, "class": pl.String}).write_parquet(place / "manifest.parquet")
    return folder


def test_data_is_told_pair_by_pair(tmp_path: Path) -> None:
    before = packed(tmp_path / "before", {
        "train": [("a", "cat", [1, 1]), ("b", "cat", [2, 2]), ("c", "dog", [3, 3]), ("d", "dog", [4, 4])],
        "test": [("e", "cat", [5, 5]), ("twice", "cat", [6, 6]), ("twice", "cat", [7, 7])],
    })  # fmt: skip
    after = packed(tmp_path / "after", {
        "train": [("d", "dog", [4, 4]), ("b", "dog", [2, 2]), ("a", "cat", [1, 0]), ("new", "dog", [8, 8])],
        "test": [("twice", "cat", [6, 6]), ("twice", "cat", [7, 8]), ("c", "dog", [3, 0])],
    })  # fmt: skip
    found = data_difference(Snapshot("before", before), Snapshot("after", after))
    assert (found.num_before, found.num_after) == ({"train": 4, "test": 3}, {"train": 4, "test": 3})
    assert found.added.rows() == [("new", "train", "dog")]
    assert found.removed.rows() == [("e", "test", "cat")]
    assert found.relabelled.rows() == [("b", "train", "cat", "dog")]
    assert found.moved.rows() == [("c", "dog", "train", "test")]
    assert sorted(found.content.rows()) == [
        ("a", "train", "cat", "touch"), ("c", "test", "dog", "touch"), ("twice", "test", "cat", "touch"),
    ]  # fmt: skip
    assert not data_difference(Snapshot("before", before), Snapshot("before", before)).changed


def test_rows_are_compared_in_blocks_and_bytewise() -> None:
    first = RNG.normal(size=(50, 3)).astype(np.float32)
    first[7] = np.nan
    second, rows = first.copy(), np.arange(50)
    second[[0, 21, 49], 2] += 1
    for num_bytes in (1, 40, 1 << 20):
        assert np.flatnonzero(changed_rows(first, second, (rows, rows), num_bytes)).tolist() == [0, 21, 49]
    assert changed_rows(first, first, (rows, rows[::-1]), 40).all()
