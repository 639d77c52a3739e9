"""Rounds of active learning: what is labelled, what is hidden, and what stays the same."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from bss.data.packed import MANIFEST
from bss.errors import InputError
from bss.evaluation.active.curves import area_under_budget_curve, class_entropy, labels_needed
from bss.files import read_tensors
from bss.params import Params, load
from bss.paths import Round, Workspace
from bss.training.checkpoint import checkpoints_of
from bss.training.rounds import train_round
from bss.types import Split
from tests.helpers import ROOT
from tests.helpers.toy import packed_toy


def workspace(folder: Path, **active: Any) -> tuple[Params, Workspace]:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["active"] |= {"initial": 9, "per_round": 6, "epochs": 2, **active}
    raw["train"]["batch_size"] = 8
    place = Workspace(folder)
    packed_toy(place.packed)
    place.params.write_text(yaml.safe_dump(raw))
    return load(place.params), place


def run(params: Params, place: Workspace, acquisition: str, numbers: range) -> dict[str, bytes]:
    """Run rounds; what the last one left."""
    for number in numbers:
        train_round(params, Round(acquisition, 0, number), place, lambda *_: None)
    folder = place.round(Round(acquisition, 0, numbers[-1]))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rounds_label_more_pairs_and_start_alike(tmp_path: Path) -> None:
    params, place = workspace(tmp_path, epochs=12)
    first = {name: run(params, place, name, range(1)) for name in ("random", "badge")}
    assert first["random"] == first["badge"]
    run(params, place, "badge", range(1, 3))
    table = pl.read_parquet(place.round(Round("badge", 0, 2)) / "labelled.parquet")
    assert table["round"].to_list() == [0] * 9 + [1] * 6 + [2] * 6
    assert table["index"].n_unique() == 21
    assert table.filter(pl.col("round") > 0)["dominance"].is_between(0.5, 1).all()
    assert table.filter(round=0)["predicted"].null_count() == 9
    logits = read_tensors(place.round(Round("badge", 0, 1)) / "evidence.safetensors")["logits.fused"]
    asked = table.filter(round=2)
    assert asked["predicted"].n_unique() > 1
    assert asked["predicted"].to_list() == logits.argmax(dim=1)[asked["index"].to_list()].tolist()


@pytest.mark.parametrize("acquisition", ["mcdal", "balance"])
def test_labels_that_were_not_bought_change_nothing(acquisition: str, tmp_path: Path) -> None:
    params, place = workspace(tmp_path / "honest")
    honest = run(params, place, acquisition, range(2))
    bought = pl.read_parquet(place.round(Round(acquisition, 0, 1)) / "labelled.parquet")["index"].to_numpy()
    params, other = workspace(tmp_path / "garbage")
    path = other.packed / "train" / MANIFEST
    manifest = pl.read_parquet(path)
    labels = manifest["label"].to_numpy().copy()
    hidden = np.setdiff1d(np.arange(len(labels)), bought)
    labels[hidden] = (labels[hidden] + 1) % 3
    manifest.with_columns(label=pl.Series(labels)).write_parquet(path)
    assert run(params, other, acquisition, range(2)) == honest


def test_some_pairs_of_a_split_are_the_same_in_a_worker_process(tmp_path: Path) -> None:
    train = packed_toy(tmp_path)[Split.TRAIN]
    some = train.only(np.array([5, 2, 9])).only(np.array([2, 0]))
    reopened = pickle.loads(pickle.dumps(some))
    for split in (some, reopened):
        assert split.ids == (train.ids[9], train.ids[5])
        assert split.labels.tolist() == train.labels[[9, 5]].tolist()
        assert np.array_equal(split.read(np.array([1]))["m0"], train.read(np.array([5]))["m0"])


def test_a_pool_that_is_too_small_is_refused(tmp_path: Path) -> None:
    params, place = workspace(tmp_path, initial=67)
    with pytest.raises(InputError, match="67 labels and 5 rounds of 6 are 97, and there are 96 training pairs"):
        run(params, place, "random", range(1))


def test_a_method_that_looks_at_validation_is_refused(tmp_path: Path) -> None:
    params, place = workspace(tmp_path, method="relearning")
    with pytest.raises(InputError, match=r"active\.method: 'relearning' looks at validation"):
        run(params, place, "random", range(1))


def test_area_and_labels_saved_by_hand() -> None:
    labels, own, random = [100, 150, 200, 250], [0.5, 0.6, 0.66, 0.70], [0.5, 0.57, 0.62, 0.66]
    assert area_under_budget_curve(labels, own) == pytest.approx(0.62)
    assert area_under_budget_curve(labels, random) == pytest.approx(0.59)
    assert labels_needed(labels, own, 0.66) == 200
    assert labels_needed(labels, random, 0.66) == 250
    assert labels_needed(labels, own, 0.64) == pytest.approx(150 + 50 * 2 / 3)
    assert labels_needed(labels, random, 0.9) is None
    assert class_entropy([0, 0, 1, 1]) == pytest.approx(np.log(2))
    with pytest.raises(ValueError, match="rising"):
        area_under_budget_curve([100, 100], [0.5, 0.6])


def test_a_round_goes_on_from_no_checkpoint_of_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []

    def seen(*given: Any) -> Any:
        made = checkpoints_of(*given)
        found.append(made.folder.name)
        return made

    monkeypatch.setattr("bss.training.rounds.checkpoints_of", seen)
    params, place = workspace(tmp_path)
    for active in ({}, {}, {"method": "ogm"}, {"epochs": 1}, {"initial": 10}):
        changed = params.active.model_copy(update=active)
        run(params.model_copy(update={"active": changed}), place, "entropy", range(1))
    same, again, *others = found
    assert same == again
    assert len({same, *others}) == 1 + len(others)
