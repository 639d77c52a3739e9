"""The section on the decision, against slow references."""

from dataclasses import replace
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from bss.data.packed import Meta, ModalityMeta
from bss.encoders.fusions.concat import Concat
from bss.encoders.fusions.gated import Gated
from bss.encoders.mlp import MLP
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.reader import _fusion_norms
from bss.evaluation.page.section import Table
from bss.evaluation.report.decision import class_recalls, logit_shares, section, weight_shares
from bss.files import write_tensors
from bss.model import build_model
from bss.paths import Cell, Workspace
from bss.types import Split
from tests.evaluation.report.test_page import PICTURE, SOUND, grid

NAMES = ("audio", "image", "text")
WIDTHS = (3, 8, 5)


def with_probabilities(inputs: ReportInputs) -> ReportInputs:
    """Predictions of which the modalities are unlike in how sure they are."""
    rng = np.random.default_rng(0)
    sure = {name: 1 + 2.0 * place for place, name in enumerate(inputs.modalities)}
    logits = rng.normal(size=(inputs.predictions.height, len(inputs.classes)))
    logits *= np.array([[sure.get(output, 1.0)] for output in inputs.predictions["output"]])
    powers = np.exp(logits)
    column = pl.Series("probabilities", powers / powers.sum(axis=1, keepdims=True))
    return replace(inputs, predictions=inputs.predictions.with_columns(column))


def tables(inputs: ReportInputs) -> dict[str, Table]:
    found = section(inputs)
    return {block.title: block for block in found.blocks if isinstance(block, Table)} if found else {}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return with_probabilities(grid(tmp_path_factory.mktemp("raw"), {"audio": SOUND, "image": PICTURE, "text": SOUND}))


def test_logit_shares_equal_a_loop_over_samples_and_classes(inputs: ReportInputs) -> None:
    found = logit_shares(inputs.predictions, inputs.modalities)
    assert set(found["method"]) == {"joint"}, "a modality alone has nobody to share with"
    rows = inputs.predictions.filter(method="joint", scheduler="learned", seed=1)
    sizes = {}
    for name in inputs.modalities:
        total, number = 0.0, 0
        for probabilities in rows.filter(output=name)["probabilities"].to_list():
            logs = [log(value) for value in probabilities]
            total += sum(abs(value - sum(logs) / len(logs)) for value in logs)
            number += len(logs)
        sizes[name] = total / number
    shares = found.filter(method="joint", scheduler="learned", seed=1)
    for name, share in shares.select("output", "share").iter_rows():
        assert share == pytest.approx(sizes[name] / sum(sizes.values()))
    assert shares["share"].sum() == pytest.approx(1)


def test_logits_that_no_probability_can_hold_leave_shares_finite(inputs: ReportInputs) -> None:
    one_hot = pl.Series("probabilities", np.eye(10)[inputs.predictions["prediction"].to_numpy()])
    found = logit_shares(inputs.predictions.with_columns(one_hot), inputs.modalities)
    assert found["share"].is_finite().all()


def test_recalls_are_means_over_seeds_of_shares_of_a_class(inputs: ReportInputs) -> None:
    run = inputs.predictions.filter(method="joint", scheduler="random")
    found = {(output, label): recall for output, label, recall in class_recalls(run).iter_rows()}
    for (output, label), recall in found.items():
        of_seeds = []
        for seed in inputs.seeds:
            taken = run.filter(seed=seed, output=output, label=label)["prediction"].to_list()
            of_seeds.append(taken.count(label) / len(taken))
        assert recall == pytest.approx(sum(of_seeds) / len(of_seeds))


def meta_of(names: tuple[str, ...]) -> Meta:
    modality = ModalityMeta(kind="image", shape=(1, 2, 2), mean=0.0, std=1.0, encoder="mlp")
    return Meta(dataset="d", classes=("a", "b"), modalities=dict.fromkeys(names, modality),
                num_pairs=dict.fromkeys(Split, 1))  # fmt: skip


@pytest.mark.parametrize(("fusion", "has"), [(Concat(), True), (Gated(width=4), False), (None, False)])
def test_norms_are_those_of_the_columns_of_a_concatenation(fusion: Any, has: bool, tmp_path: Path) -> None:
    meta, cell, workspace = meta_of(NAMES), Cell("joint", "random", 0), Workspace(tmp_path)
    model = build_model(meta, {name: MLP(width=width) for name, width in zip(NAMES, WIDTHS, strict=True)}, 0, fusion)
    if fusion is None:
        model.fusion = None
    write_tensors(model.state_dict(), workspace.run(cell) / "model.safetensors")
    found = _fusion_norms(workspace, cell, meta)
    assert found.columns == ["output", "norm"]
    assert found.height == (3 if has else 0)
    if has:
        start = 0
        for name, width, norm in zip(NAMES, WIDTHS, found["norm"], strict=True):
            columns = model.fusion.weight.detach()[:, start : start + width]
            assert norm == pytest.approx(sqrt(sum(float(value) ** 2 for value in columns.flatten())), rel=1e-6), name
            start += width


def test_a_matrix_of_another_width_is_no_concatenation(tmp_path: Path) -> None:
    meta, cell, workspace = meta_of(NAMES[:2]), Cell("joint", "random", 0), Workspace(tmp_path)
    weights = {f"branches.{name}.head.weight": torch.ones(2, 3) for name in NAMES[:2]}
    write_tensors({**weights, "fusion.weight": torch.ones(2, 7)}, workspace.run(cell) / "model.safetensors")
    assert _fusion_norms(workspace, cell, meta).is_empty()


def test_the_tables_say_what_was_measured(inputs: ReportInputs) -> None:
    norms = pl.DataFrame(
        [("joint", "random", seed, *norm) for seed in (0, 1) for norm in zip(NAMES, (1, 2, 5), strict=True)],
        schema=["method", "scheduler", "seed", "output", "norm"], orient="row",
    )  # fmt: skip
    assert weight_shares(norms)["share"].to_list() == pytest.approx([1 / 8, 2 / 8, 5 / 8] * 2)
    shown = tables(replace(inputs, fusion_norms=norms))
    assert [list(row) for row in shown["Weights by modality"].rows] == [
        ["random", "12.5 ± 0.0", "25.0 ± 0.0", "62.5 ± 0.0"]
    ]
    assert [row[0] for row in shown["Logits by modality"].rows] == ["random", "heuristic", "learned"]
    recall = shown["random: recall by class"]
    assert list(recall.header) == ["class", *NAMES, "fused"]
    spreads = [max(values) - min(values) for values in ([float(cell) for cell in row[1:4]] for row in recall.rows)]
    assert spreads == pytest.approx(sorted(spreads, reverse=True), abs=0.11)


def test_without_two_outputs_there_is_no_section(inputs: ReportInputs) -> None:
    fused = inputs.predictions.filter(pl.col("output").is_in(["fused", "audio"]))
    assert section(replace(inputs, predictions=fused)) is None


def test_predictions_without_probabilities_have_recalls_alone(inputs: ReportInputs) -> None:
    assert list(tables(replace(inputs, predictions=inputs.predictions.drop("probabilities")))) == [
        "random: recall by class"
    ]
