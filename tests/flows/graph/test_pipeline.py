"""The whole pipeline on a slice of real data: what it leaves, and that only what changed is computed again."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bss.data.packed import Meta
from bss.encoders.mlp import MLP
from bss.files import read_tensors
from bss.model import build_model
from tests.helpers.workspace import Workspace

pytestmark = pytest.mark.xdist_group("pipeline")  # one workspace for all
SCORED = {"score@0", "curriculum@random-0", "curriculum@learned-0"}
TRAINED = {"train@joint-random-0", "train@joint-learned-0", "train-alone@unimodal-random-0"}
JUDGED = {"evaluate@joint-random-0", "evaluate@joint-learned-0", "evaluate-alone@unimodal-random-0"}
JUDGED |= {"report", "register"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, finished: tuple[Workspace, set[str]]) -> Workspace:
    made, ran = finished
    assert ran == {"preprocess", "methods", "warmup@0"} | SCORED | TRAINED | JUDGED
    return made.copied(tmp_path_factory.mktemp("pipeline") / "workspace")


@pytest.fixture
def scratch(tmp_path: Path, finished: tuple[Workspace, set[str]]) -> Workspace:
    return finished[0].copied(tmp_path / "workspace")


def test_every_artifact_is_there(workspace: Workspace) -> None:
    folder = workspace.folder
    metrics = json.loads((folder / "reports/metrics/joint-learned-0.json").read_text())
    assert set(metrics) == {
        "outputs", "test", "rule", "num_steps", "num_samples", "equilibrium_deviation", "shares",
    }  # fmt: skip
    assert set(metrics["outputs"]) == {"audio", "image", "fused"}
    assert set(metrics["outputs"]["fused"]) == {
        "accuracy", "balanced_accuracy", "macro_f1", "mean_average_precision", "auc",
    }  # fmt: skip
    alone = json.loads((folder / "reports/metrics/unimodal-random-0.json").read_text())
    assert set(alone) == {"outputs", "test", "num_steps", "num_samples"}
    assert set(alone["outputs"]) == {"audio", "image"}
    assert alone["test"] == metrics["test"]
    scores = pl.read_parquet(folder / "data/scores/0.parquet")
    assert len(scores) == 40
    assert scores["balance_score"].is_between(-1, 1).all()
    draws = pl.read_parquet(folder / "models/runs/joint-learned-0/draws.parquet")
    assert draws["id"].equals(scores["id"])
    assert draws["num_draws"].sum() == 40
    assert metrics["num_samples"] == 80, "the warm-up counts"
    predictions = pl.read_parquet(folder / "reports/predictions/joint-learned-0/predictions.parquet")
    fused = predictions.filter(pl.col("output") == "fused")
    assert (fused["label"] == fused["prediction"]).mean() == pytest.approx(metrics["outputs"]["fused"]["accuracy"])
    confusion = pl.read_parquet(folder / "reports/predictions/joint-learned-0/confusion.parquet")
    right = confusion.filter(pl.col("output") == "fused", pl.col("label") == pl.col("prediction"))["num_samples"]
    assert right.sum() / len(fused) == pytest.approx(metrics["outputs"]["fused"]["accuracy"])
    assert "joint-learned-0" in workspace.dvc("metrics", "show")
    assert (folder / "reports/report.html").read_text().startswith("<!")


def test_advice_is_of_what_the_warm_up_left(workspace: Workspace) -> None:
    printed = workspace.run("python", "-m", "bss", "advise").stdout
    words = (workspace.folder / "reports/advice.md").read_text()
    assert words in printed
    assert "of the training pairs score lower than 95 % of the held-out pairs" in " ".join(words.split())
    held_out = pl.read_parquet(workspace.folder / "data/held_out/0.parquet")
    validation = pl.read_parquet(workspace.folder / "data/packed/validation/manifest.parquet")
    assert held_out["id"].to_list() == validation["id"].to_list()
    scores = pl.read_parquet(workspace.folder / "data/scores/0.parquet")
    expected = np.zeros(len(held_out))
    for name, sign in (("prediction_similarity", 1), ("training_loss", -1)):
        low, high = scores[name].to_numpy().min(), scores[name].to_numpy().max()
        expected += sign * (held_out[name].to_numpy() - low) / (high - low)
    assert held_out["balance_score"].to_numpy() == pytest.approx(expected), "in the scale of the training pairs"
    listed = pl.read_csv(workspace.folder / "reports/advice.csv")
    assert listed.columns == ["id", "class", "balance_score", "num_seeds", "least_sure"]
    assert set(listed["id"].to_list()) <= set(scores["id"].to_list())
    page = (workspace.folder / "reports/advice.html").read_text()
    assert page.count("<li>\n    <h4>") == min(18, len(listed)), (
        "a card for each of the worst, as many as a report shows"
    )
    assert all(name in page for name in listed["id"].to_list())
    assert workspace.changed() == set(), "it leaves every stage as it was"


def test_a_stage_by_itself_leaves_the_bytes_of_a_forked_one(workspace: Workspace) -> None:
    """Also: a stage run by hand is the stage that DVC runs."""
    runs = workspace.folder / "models/runs/joint-learned-0"
    before = {path.name: path.read_bytes() for path in runs.iterdir()}
    by_itself = Workspace.at(workspace.folder)
    by_itself.run("python", "-m", "tasks.train", "--method", "joint", "--scheduler", "learned", "--seed", "0")
    assert {path.name: path.read_bytes() for path in runs.iterdir()} == before


@pytest.mark.nightly
def test_without_a_warm_up_an_untrained_network_is_scored(workspace: Workspace) -> None:
    workspace.set(warmup__epochs=0)
    workspace.run("python", "-m", "tasks.warmup", "--seed", "7")
    workspace.run("python", "-m", "tasks.score", "--seed", "7")
    workspace.set(warmup__epochs=1)
    weights = read_tensors(workspace.folder / "models/warmup/7/model.safetensors")
    encoder = MLP(width=8, num_layers=1)
    meta = Meta.read(workspace.folder / "data/packed")
    initial = build_model(meta, {"audio": encoder, "image": encoder}, seed=7).state_dict()
    assert all(torch.equal(weights[name], value) for name, value in initial.items())
    scores = workspace.folder / "data/scores/7.parquet"
    assert pl.read_parquet(scores)["balance_score"].n_unique() > 30
    scores.unlink()


def test_only_what_changed_is_computed_again(workspace: Workspace) -> None:
    workspace.set(train__epochs=2)
    assert workspace.changed() == TRAINED | {"report"}
    workspace.set(train__epochs=1, score__criteria=["prediction_similarity"])
    assert workspace.changed() == SCORED | TRAINED | {"report", "register"}
    workspace.set(score__criteria=["prediction_similarity", "training_loss"], score__others=["entropy"])
    ogm = workspace.folder / "src/bss/training/methods/ogm.py"
    ogm.write_text(ogm.read_text() + "\n")  # of no method in the grid; tests/project/test_guide.py adds one
    assert workspace.reproduce() == SCORED | {"methods", "report", "register"}, "the sequences are what they were"
    workspace.set(curriculum__schedulers__learned__criteria=["entropy"])
    row = {"curriculum@learned-0", "train@joint-learned-0", "evaluate@joint-learned-0", "report", "register"}
    assert workspace.reproduce() == row
    order = pl.read_parquet(workspace.folder / "data/curricula/learned-0/order.parquet")
    entropy = pl.read_parquet(workspace.folder / "data/scores/0.parquet")["entropy_normalised"]
    assert order["balance_score"].equals(entropy.rename("balance_score"))


@pytest.mark.nightly
def test_the_flow_and_dvc_compute_what_code_and_seeds_change(
    scratch: Workspace, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = scratch
    workspace.set(train__epochs=2)
    assert workspace.reproduce() == TRAINED | JUDGED
    measure = workspace.folder / "src/bss/measure/criteria/training_loss.py"
    before = measure.read_text()
    measure.write_text(before.replace(".sum(dim=0)", ".square().sum(dim=0)"))
    # From the score onwards; a model that random order leaves as it was is not judged again.
    assert workspace.reproduce() == SCORED | TRAINED | {"evaluate@joint-learned-0", "report", "register"}
    measure.write_text(before)
    workspace.set(train__epochs=1)
    assert workspace.reproduce() == set(), "the run-cache restores what was computed before"

    monkeypatch.setenv("PREFECT_API_URL", api)
    workspace.set(grid__seeds=[0, 1])
    fresh = {name.replace("-0", "-1").replace("@0", "@1") for name in SCORED | TRAINED | JUDGED}
    assert workspace.flow() == fresh | {"warmup@1"}, "one cell a scheduler, and the report"
    assert workspace.flow() == set()
    assert workspace.reproduce() == set(), "the flow and dvc repro run the same stages"


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            ["tasks.train", "--method", "joint", "--scheduler", "random", "--seed", "0"],
            "params.yaml: train: unknown key 'epoch'; did you mean 'epochs'?",
        ),
        (["bss", "run"], "params.yaml: train: unknown key 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_a_wrong_parameter_is_refused_and_nothing_is_lost(scratch: Workspace, stage: list[str], message: str) -> None:
    report = scratch.folder / "reports/report.html"
    before = report.read_bytes()
    scratch.set(train__epoch=3)
    done = scratch.run("python", "-m", *stage, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert report.read_bytes() == before


@pytest.mark.parametrize(
    "hostile",
    [
        "; touch pwned;",
        *(
            pytest.param(text, marks=pytest.mark.nightly)
            for text in ("$(touch pwned)", "'; touch pwned; '", "`touch pwned`")
        ),
    ],
)
def test_a_parameter_is_no_command(hostile: str, scratch: Workspace) -> None:
    """DVC fills names of params.yaml into commands before the pipeline can look at them."""
    scratch.set(grid__schedulers=["random", hostile])
    done = scratch.run("dvc", "repro", "--single-item", "--force", "train", check=False)
    assert done.returncode != 0
    assert not list(scratch.folder.rglob("pwned*"))
