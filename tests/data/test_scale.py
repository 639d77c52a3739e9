"""Numbers and series are scaled one by one, so that a unit decides nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bss import CurriculumSampler, Random
from bss.data.datasets.manifest import Manifest
from bss.data.packed import Meta, open_split
from bss.data.packing.pack import pack
from bss.data.packing.scale import by_number
from bss.model import build_model
from bss.training.loop import fit
from bss.training.methods.unimodal import Unimodal
from bss.training.runtime import Runtime
from bss.training.settings import Train
from bss.training.trainer import Trainer
from tests.helpers.toy import SETTINGS


def test_each_number_has_its_own_mean_and_deviation() -> None:
    values = np.random.default_rng(0).normal(size=(10_000, 4, 3)) * [1, 1e6, 1e-6] + [0, -5e6, 3]
    values = values.astype(np.float32)
    values[::7, 2:] = np.nan
    rows = np.arange(0, 10_000, 3)
    means, deviations = by_number(values, rows)
    exact = values[rows].astype(np.float64).reshape(-1, 3)
    assert means == pytest.approx(np.nanmean(exact, axis=0), rel=1e-12)
    assert deviations == pytest.approx(np.nanstd(exact, axis=0), rel=1e-9)


def test_a_constant_number_and_one_that_nobody_has() -> None:
    values = np.array([[0.1, np.nan], [0.1, np.nan], [0.1, np.nan]], dtype=np.float32)
    (mean, nothing), deviations = by_number(values, np.arange(3))
    assert (np.float32(mean), nothing) == (np.float32(0.1), 0)
    assert deviations == (1, 1)
    assert by_number(values, np.arange(0)) == ((0, 0), (1, 1))


def table(folder: Path, columns: dict[str, Any]) -> Path:
    pl.DataFrame(columns).write_parquet(folder / "t.parquet")
    return folder / "t.parquet"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten numbers of which the three that tell the class differ by 10^6 in their units, and a second modality."""
    folder, generator = tmp_path_factory.mktemp("units"), np.random.default_rng(0)
    labels = generator.integers(0, 3, 900)
    numbers = generator.normal(size=(900, 10))
    numbers[:, :3] += 1.5 * np.eye(3)[labels]
    numbers *= 10.0 ** np.array([-3, 3, 0, 5, 5, 5, 0, 0, -6, -6])
    numbers[:, 9] = 42
    split = np.repeat(["train", "validation", "test"], 300)
    places = {f"n{place}": numbers[:, place] for place in range(10)}
    path = table(folder, {"label": labels.astype(str), "split": split, "other": generator.normal(size=900), **places})
    dataset = Manifest.model_validate(
        {
            "file": str(path),
            "columns": {"body": list(places), "other": ["other"]},
            "kinds": {"body": {"name": "features", "size": 10}, "other": {"name": "features", "size": 1}},
        }
    )
    pack(dataset, folder / "packed")
    return folder / "packed"


def test_a_model_is_as_good_as_logistic_regression_whatever_the_units(packed: Path) -> None:
    train, test = open_split(packed, "train"), open_split(packed, "test")
    wanted = make_pipeline(StandardScaler(), LogisticRegression())
    wanted.fit(train.arrays["body"].astype(np.float64), train.labels)
    reference = wanted.score(test.arrays["body"].astype(np.float64), test.labels)
    settings = Train(
        epochs=10, batch_size=32, optimizer="adamw", lr=0.002, weight_decay=1e-4, momentum=0.9,
        lr_schedule="cosine", keep="best",
    )  # fmt: skip
    model = build_model(train.meta, {}, 0)
    trainer = Trainer(model, Unimodal(), settings, Runtime.start(SETTINGS))
    fit(trainer, CurriculumSampler(len(train), Random()), train, open_split(packed, "validation"), settings, 10)
    branch = model.eval().branch("body")
    with torch.no_grad():
        _, logits = branch(torch.from_numpy(np.array(test.arrays["body"])))
    assert float((logits.argmax(1).numpy() == test.labels).mean()) >= reference - 0.03
    assert reference > 0.7


def test_a_constant_number_stays_zero(packed: Path) -> None:
    split = open_split(packed, "test")
    meta = Meta.read(packed).modalities["body"]
    branch = build_model(split.meta, {}, 0).branch("body")
    scaled = (torch.from_numpy(np.array(split.arrays["body"])) - branch.mean) / branch.std
    assert isinstance(meta.std, tuple) and meta.std[9] == 1
    assert not scaled[:, 9].any()
    assert scaled[:, :9].std(dim=0).sub(1).abs().max() < 0.2
