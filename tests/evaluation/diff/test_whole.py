"""Two snapshots as wholes: what belongs to them, what is missing or damaged, and the forms of the result."""

import json
from pathlib import Path

import polars as pl
import pytest

from bss.evaluation.diff.difference import difference
from bss.evaluation.diff.snapshot import Snapshot, belongs
from bss.evaluation.diff.text import format_json, format_markdown, format_text
from tests.evaluation.diff.test_difference import packed


def test_only_the_grid_counts() -> None:
    params = {"grid": {"seeds": [0], "methods": ["joint"], "schedulers": ["random", "heuristic-full"]}}
    inside = ["data/scores/0.parquet", "data/curricula/heuristic-full-0", "models/runs/joint-heuristic-full-0",
              "reports/metrics/unimodal-random-0.json", "data/packed/train"]  # fmt: skip
    outside = ["data/scores/1.parquet", "data/curricula/learned-0", "models/runs/ogm-random-0",
               "reports/metrics/unimodal-heuristic-full-0.json", "reports/predictions/joint-random-10"]  # fmt: skip
    assert [belongs(Path(place), params) for place in (*inside, *outside)] == [True] * 5 + [False] * 5
    assert all(belongs(Path(place), None) for place in outside)


def judged(folder: Path, accuracies: dict[str, float]) -> Path:
    (folder / "reports/metrics").mkdir(parents=True)
    for key, accuracy in accuracies.items():
        outputs = {"fused": {"accuracy": accuracy, "auc": None}}
        content = {"outputs": outputs, "rule": "fused", "num_steps": 3, "num_samples": 90}
        (folder / f"reports/metrics/{key}.json").write_text(json.dumps(content))
    return folder


def test_what_one_side_alone_has_is_told(tmp_path: Path) -> None:
    before = packed(tmp_path / "a", {"train": [("a", "cat", [1, 1])]})
    (before / "params.yaml").write_text("train: {}\n")
    after = judged(tmp_path / "b", {"joint-random-0": 0.5})
    found = difference(Snapshot("before", before), Snapshot("after", after))
    assert found.removed == ("params.yaml", "data/packed")
    lacking = Snapshot("after", after, missing=("data/packed/train",))
    assert difference(Snapshot("before", before), lacking).removed == ("params.yaml",)


def test_what_is_missing_is_neither_added_nor_removed(tmp_path: Path) -> None:
    before = judged(tmp_path / "a", {"joint-random-0": 0.5, "joint-random-1": 0.6, "joint-learned-0": 0.7})
    after = judged(tmp_path / "b", {"joint-random-0": 0.5, "ogm-random-0": 0.6})
    lacking = Snapshot("after", after, missing=("reports/metrics/joint-random-1.json",), remedy="dvc pull")
    found = difference(Snapshot("before", before), lacking)
    assert (found.added, found.removed) == (("metrics ogm-random-0",), ("metrics joint-learned-0",))
    assert found.changed
    text = format_text(found, 10)
    assert (
        "not compared, because after lacks it: reports/metrics/joint-random-1.json; `dvc pull` brings it"
        in " ".join(text.split())
    )


def test_a_damaged_file_and_a_folder_without_artifacts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither params.yaml nor artifacts"):
        Snapshot("nothing", tmp_path)
    folder = judged(tmp_path / "a", {})
    (folder / "reports/metrics/joint-random-0.json").write_text('{"outputs"')
    (folder / "data/scores").mkdir(parents=True)
    (folder / "data/scores/0.parquet").write_bytes(b"PAR1")
    snapshot = Snapshot("damaged", folder)
    with pytest.raises(ValueError, match=r"joint-random-0\.json is damaged"):
        _ = snapshot.metrics
    with pytest.raises(ValueError, match=r"0\.parquet is damaged"):
        _ = snapshot.scores


def snapshot_of(folder: Path, ids: list[str], right: dict[int, list[bool]], name: str = "made") -> Snapshot:
    """A snapshot with the test pairs `ids`, all cats, and for each seed whether each is predicted right."""
    packed(folder, {"train": [("a", "cat", [1, 1])], "test": [(one, "cat", [2, 2]) for one in ids]})
    meta = folder / "data/packed/meta.json"
    meta.write_text(meta.read_text().replace('"made"', f'"{name}"'))
    judged(folder, {f"joint-random-{seed}": sum(hits) / len(hits) for seed, hits in right.items()})
    for seed, hits in right.items():
        place = folder / f"reports/predictions/joint-random-{seed}"
        place.mkdir(parents=True)
        columns = {"id": ids, "label": 0, "output": "fused", "prediction": [0 if hit else 1 for hit in hits]}
        pl.DataFrame(columns).with_columns(probability=pl.lit(0.5)).write_parquet(place / "predictions.parquet")
    return Snapshot(folder.name, folder)


@pytest.mark.parametrize(("ids", "name"), [(["x", "y"], "made"), (["p", "q", "r", "s"], "another")])
def test_of_other_test_pairs_nothing_is_compared(ids: list[str], name: str, tmp_path: Path) -> None:
    before = snapshot_of(tmp_path / "a", ["p", "q", "r", "s"], {0: [True] * 4, 1: [True] * 4})
    after = snapshot_of(tmp_path / "b", ids, {0: [False] * len(ids), 1: [True] * len(ids)}, name)
    found = difference(before, after)
    assert (found.num_common, found.models, found.over_seeds) == (0, (), ())
    assert found.changed
    text = format_text(found, 10)
    assert "models: no test pair in common, so there is nothing to compare" in text
    assert "points" not in text


def test_of_partly_common_test_pairs_only_those_count(tmp_path: Path) -> None:
    before = snapshot_of(
        tmp_path / "a", ["p", "q", "r", "s"], {0: [True, False, True, True], 1: [False, False, True, True]}
    )
    after = snapshot_of(tmp_path / "b", ["q", "p", "n"], {0: [True, True, False], 1: [False, True, False]})
    found = difference(before, after)
    assert (found.num_common, found.num_tested) == (2, 4)
    (one,) = found.over_seeds
    assert one.accuracy.mean == pytest.approx(0.5)  # q of seed 0, p of seed 1
    assert one.accuracy.num_pairs == 2
    assert "(on the 2 test pairs that both have, of 4)" in " ".join(format_text(found, 10).split())


def test_the_forms_agree_and_fit_a_terminal(tmp_path: Path) -> None:
    before = judged(tmp_path / "a", {f"joint-a_long_name_of_a_scheduler-{seed}": 0.5 for seed in range(3)})
    after = judged(tmp_path / "b", {f"joint-a_long_name_of_a_scheduler-{seed}": 0.5 + seed / 9 for seed in range(3)})
    found = difference(Snapshot("before", before), Snapshot("after", after))
    text, page, content = format_text(found, 10), format_markdown(found, 10), json.loads(format_json(found, 10))
    assert max(map(len, text.splitlines())) <= 80
    assert "+11.1 [-16.5, +38.7]" in text
    assert "+11.1 [-16.5, +38.7]" in page
    assert content["changed"] is True
    assert content["over_seeds"][0]["accuracy"]["mean"] == pytest.approx(1 / 9)
    same = difference(Snapshot("before", before), Snapshot("before", before))
    assert format_text(same, 10).splitlines()[1:] == ["nothing changed"]
