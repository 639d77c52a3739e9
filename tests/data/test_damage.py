"""Damage and projection touch what they say and nothing else."""

import numpy as np
import polars as pl
import pytest

from bss.data.datasets._damage import damage, project

MODALITIES = ("sound", "picture", "text")
NUM_TRAIN = 90


def pairs() -> pl.DataFrame:
    values = {name: [f"{name}{row}" for row in range(120)] for name in MODALITIES}
    return pl.DataFrame({"id": range(120), "split": ["test"] * 30 + ["train"] * NUM_TRAIN, **values})


@pytest.mark.parametrize(("fraction", "counts"), [(0.0, [0, 0, 0]), (0.4, [12, 12, 12]), (1.0, [30, 30, 30])])
def test_the_damage_is_shared_out_evenly(fraction: float, counts: list[int]) -> None:
    damaged = damage(pairs(), MODALITIES, fraction, seed=0)["damaged"]
    assert [(damaged == name).sum() for name in MODALITIES] == counts
    assert damaged.null_count() == 120 - sum(counts)


def test_a_share_that_does_not_divide_is_still_complete() -> None:
    damaged = damage(pairs(), MODALITIES[:2], 0.3, seed=0)["damaged"]
    assert [(damaged == name).sum() for name in MODALITIES[:2]] == [14, 13]


def test_only_the_named_modality_of_training_pairs_changes() -> None:
    before, after = pairs(), damage(pairs(), MODALITIES, 0.5, seed=0)
    for name in MODALITIES:
        changed = after.filter(before[name] != after[name])
        assert len(changed) > 5
        assert set(changed["damaged"]) == {name}
        assert set(changed["split"]) == {"train"}
    assert (before["id"] == after["id"]).all()


def test_values_are_permuted_among_the_share() -> None:
    after = damage(pairs(), MODALITIES, 0.5, seed=0)
    for name in MODALITIES:
        share = (after["damaged"] == name).fill_null(False)
        assert sorted(after[name].filter(share)) == sorted(pairs()[name].filter(share))


def test_the_seed_alone_decides() -> None:
    first, again, other = (damage(pairs(), MODALITIES, 0.4, seed) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)


def images() -> pl.DataFrame:
    values = np.random.default_rng(0).integers(0, 256, (60, 5, 4)).astype(np.uint8)
    return pl.DataFrame({"split": ["train"] * 40 + ["test"] * 20, "image": pl.Series(values)})


def test_a_projection_keeps_the_rank_it_is_given() -> None:
    projected = project(images(), "image", 3)["image"].to_numpy().reshape(60, -1).astype(float)
    spread = np.linalg.svd(projected - projected[:40].mean(axis=0), compute_uv=False)
    assert spread[2] > 20 * spread[3]  # what is left is rounding


def test_a_projection_is_fitted_on_train_alone() -> None:
    whole, train = images(), pl.col("split") == "train"
    inverted = np.where(np.arange(60)[:, None, None] < 40, whole["image"].to_numpy(), 255 - whole["image"].to_numpy())
    other = whole.with_columns(pl.Series("image", inverted.astype(np.uint8)))
    assert project(whole, "image", 3).filter(train).equals(project(other, "image", 3).filter(train))
    assert not project(whole, "image", 3).equals(project(other, "image", 3))


def test_all_components_or_none_named_leave_the_images() -> None:
    assert project(images(), "image", None).equals(images())
    assert project(images(), "image", 20).equals(images())
