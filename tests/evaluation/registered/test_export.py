"""The registered model as a program of torch.export or ONNX: the same probabilities for any number of rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from bss.__main__ import app
from bss.data.packed import Meta
from bss.encoders.encoder import ENCODERS, Encoder
from bss.encoders.fusions.fusion import FUSIONS
from bss.errors import InputError
from bss.evaluation.judging.judgement import decided
from bss.evaluation.registered.card import Best
from bss.evaluation.registered.export import Program, write_program
from bss.measure.evidence import Evidence
from bss.model import MultimodalModel, build_model
from bss.training.methods.joint import Joint
from bss.types import FUSED, Split
from tasks.register import register
from tests.helpers.encoders import MODALITIES, NUM_EXAMPLES, accepted, examples, made_up
from tests.helpers.pairs import KINDS, make_pairs, rows, write
from tests.helpers.stages import FAST, run_stages
from tests.helpers.workspace import Workspace

RAW = Path("data/sample")
LIGHT = {
    "spectrogram": "small_cnn",
    "numbers": "mlp",
    "words": "text_transformer",
    "skeleton": "skeleton_transformer",
}
EXAMPLES = [(name, number) for name in ENCODERS for number in range(NUM_EXAMPLES.get(name, 1))]


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a registered model, of pairs that may lack a value."""
    folder = tmp_path_factory.mktemp("program")
    (folder / RAW).mkdir(parents=True)
    make_pairs(folder / RAW)
    holes = pl.when(pl.int_range(pl.len()) != 9).then("sound").alias("sound")
    write(folder / RAW, rows().with_columns(holes))
    data = {"name": "manifest", "file": f"{RAW}/pairs.csv", "kinds": KINDS, "missing": "mask"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_stages(folder, data, {"sound": FAST, "picture": FAST})
        register()
    return folder


@pytest.fixture
def folder(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(registered)
    return registered


@pytest.fixture(params=["pt2", "onnx"])
def form(request: pytest.FixtureRequest) -> Any:
    """Every form that can be written here."""
    if request.param == "onnx":
        for package in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(package, reason="bss export to ONNX needs the extra 'onnx'")
    return request.param


def bss(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def model_of(encoders: dict[str, Encoder], fusion: str = "concat") -> tuple[MultimodalModel, dict[str, Tensor]]:
    """A model of these modalities with random weights, and five rows."""
    used = {name: MODALITIES[name] for name in encoders}
    meta = Meta(dataset="toy", classes=("a", "b", "c"), modalities=used, num_pairs=dict.fromkeys(Split, 5))
    model = build_model(meta, encoders, 0, FUSIONS.example(fusion)).eval()
    return model, {name: torch.from_numpy(made_up(modality, 5)) for name, modality in used.items()}


def check_program(
    model: MultimodalModel, inputs: dict[str, Tensor], form: Any, path: Path, rule: str = FUSED, **weights: float
) -> None:
    with torch.no_grad():
        logits = model(inputs).logits
    wanted = decided(Evidence(logits, torch.zeros(5, dtype=torch.int64)), Joint(), rule, weights or None)
    program = Program(model, list(logits), rule, weights or None)
    names = {name: f"encoder of {name}" for name in inputs} | {FUSED: "fusion"}
    assert write_program(program, inputs, wanted, names, form, "{}", path) < 1e-5
    assert path.stat().st_size > 1000


@pytest.mark.nightly
def test_the_encoders_are_exported(form: str, tmp_path: Path) -> None:
    model, inputs = model_of({modality: ENCODERS.example(name) for modality, name in LIGHT.items()})
    check_program(model, inputs, form, tmp_path / f"model.{form}")


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "number"), EXAMPLES)
def test_every_encoder_is_exported(name: str, number: int, form: str, tmp_path: Path) -> None:
    encoder = examples(name)[number]
    modalities = list(accepted(encoder))
    for modality in {*modalities[:1], *({"video"} & {*modalities})}:
        other = "image" if modality == "numbers" else "numbers"
        model, inputs = model_of({modality: encoder, other: ENCODERS.example("mlp")})
        check_program(model, inputs, form, tmp_path / f"model.{form}")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_is_exported(fusion: str, tmp_path: Path) -> None:
    mlp = ENCODERS.example("mlp")
    check_program(*model_of({"numbers": mlp, "image": mlp}, fusion), "pt2", tmp_path / "model.pt2")


@pytest.mark.parametrize(
    ("rule", "weights"), [("sum", {}), ("sum_all", {}), ("weighted", {"numbers": 0.3, "tiny image": 0.7})]
)
def test_the_rule_of_the_model_is_in_the_program(rule: str, weights: dict[str, float], tmp_path: Path) -> None:
    mlp = ENCODERS.example("mlp")
    model, inputs = model_of({"numbers": mlp, "tiny image": mlp})
    check_program(model, inputs, "pt2", tmp_path / "model.pt2", rule, **weights)


class Branching(nn.Module):
    """Another result for large values."""

    dim = 6

    def forward(self, values: Tensor) -> Tensor:
        return values if values.sum() > 0 else -values


def test_what_cannot_be_exported_is_named(form: Any, tmp_path: Path) -> None:
    mlp = ENCODERS.example("mlp")
    model, inputs = model_of({"numbers": mlp, "tiny image": mlp})
    model.branch("numbers").encoder = nn.Sequential(Branching(), model.branch("numbers").encoder)
    with pytest.raises(
        InputError, match=rf"^modality 'numbers': the encoder encoder of numbers cannot .* {form}: \w"
    ):
        check_program(model, inputs, form, tmp_path / "model")
    assert not [*tmp_path.iterdir()]


def test_a_program_that_says_something_else_is_refused(tmp_path: Path) -> None:
    mlp = ENCODERS.example("mlp")
    model, inputs = model_of({"numbers": mlp, "tiny image": mlp})
    with torch.no_grad():
        wanted = {name: 0.999 * values.softmax(dim=1).numpy() for name, values in model(inputs).logits.items()}
    program = Program(model, list(wanted), FUSED, None)
    with pytest.raises(InputError, match=r"off by 0\.000\d+ in a probability \(at most 0\.0001 is allowed\)"):
        write_program(program, inputs, wanted, {}, "pt2", "{}", tmp_path / "model.pt2")
    assert not [*tmp_path.iterdir()]


def test_a_program_gives_what_bss_predict_gives(folder: Path, form: str) -> None:
    done = bss("export", "--format", form, "--out", f"here.{form}")
    assert done.exit_code == 0, done.output
    assert "checked with 4 rows: at most " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    few = rows().filter(pl.col("split") == "test").drop("split", "label")
    few.with_columns(pl.when(pl.int_range(pl.len()) != 2).then("picture").alias("picture")).write_csv(RAW / "new.csv")
    assert bss("predict", RAW / "new.csv", "--out", "new.parquet").exit_code == 0
    predicted = pl.read_parquet("new.parquet")
    inputs = Best.read(Path("models/best")).rows(RAW / "new.csv").read(0, 8)
    described = json.loads(Path(f"here.{form}.json").read_text())
    assert set(described["inputs"]) == set(inputs) == {"sound", "picture", "sound_present", "picture_present"}
    for name, values in inputs.items():
        about = described["inputs"][name]
        assert (about["dtype"], about["shape"]) == (str(values.dtype), ["batch", *values.shape[1:]])
    found = run(form, inputs, described)
    assert set(found) == set(described["outputs"])
    assert described["prediction"] == "fused_probabilities"
    for output in ("sound", "picture", "fused"):
        wanted = predicted.select([f"{output}_{name}" for name in described["classes"]]).to_numpy()
        assert np.abs(found[f"{output}_probabilities"] - wanted).max() < 1e-5


def run(form: str, inputs: dict[str, np.ndarray], described: dict[str, Any]) -> dict[str, np.ndarray]:
    """What a user of the file would write; the description is inside of it too."""
    if form == "pt2":
        extra = {"bss.json": ""}
        program = torch.export.load("here.pt2", extra_files=extra)
        assert json.loads(extra["bss.json"]) == described
        answer = program.module()({name: torch.from_numpy(values) for name, values in inputs.items()})
        return {name: values.detach().numpy() for name, values in answer.items()}
    import onnxruntime

    session = onnxruntime.InferenceSession("here.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["bss"]) == described
    names = list(described["outputs"])
    return dict(zip(names, session.run(names, inputs), strict=True))


def test_wrong_input_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, message in (
        (["--format", "onx"], "--format onx: expected pt2 or onnx"),
        (["--out", "model"], "--out model: expected a name that ends in .pt2, as --format is pt2\n"),
        (["--out", "model.onnx"], "ends in .pt2, as --format is pt2; or give --format onnx"),
        (["--out", "models"], "--out models is a folder; give the name of a file"),
        (["--model", "data"], "data holds no registered model: model.json is missing"),
        (["none.csv"], "none.csv: no such file"),
    ):
        done = bss("export", *arguments)
        assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.output
        assert message in done.stderr
    monkeypatch.chdir(tmp_path)
    done = bss("export", "--model", folder / "models/best")
    assert "has no rows of the data of this model to check with: bss export TABLE" in done.stderr


def test_the_card_is_what_a_hub_reads(folder: Path) -> None:
    text = Path("models/best/README.md").read_text()
    _, front, body = text.split("---\n", 2)
    card, best = yaml.safe_load(front), Best.read(Path("models/best"))
    assert (card["license"], card["library_name"], card["pipeline_tag"]) == ("unknown", "bss", "image-classification")
    assert {"multimodal", "audio", "image", "audio-classification"} <= set(card["tags"])
    (entry,) = card["model-index"]
    splits = {result["dataset"]["split"]: result["metrics"] for result in entry["results"]}
    assert splits["validation"] == [{"type": "accuracy", "value": best.validation_accuracy}]
    assert {"type": "accuracy", "value": best.test["fused"]["accuracy"].value} in splits["test"]
    assert "Nothing was chosen by the test split." in body
    assert str(folder) not in text
    hub = pytest.importorskip("huggingface_hub", reason="it says whether the hub would read the card")
    read = hub.ModelCard(text).data
    assert {result.dataset_split for result in read.eval_results} == {"validation", "test"}
    assert read.model_name == entry["name"]


@pytest.mark.nightly
@pytest.mark.xdist_group("pipeline")  # whose workspace is gone on from
def test_others_fetch_a_version_of_the_model(tmp_path: Path, finished: tuple[Workspace, set[str]]) -> None:
    """As docs/export.md has it, with the path of a clone as the address."""
    workspace = finished[0].copied(tmp_path / "workspace")
    git = ["git", "-c", "user.name=name", "-c", "user.email=name@example.org", "-c", "commit.gpgsign=false"]
    for name in ("user.name", "user.email"):
        workspace.run("git", "config", name, "name@example.org")
    workspace.run("git", "add", "-A")
    workspace.run(*git, "commit", "-qm", "the model of March")
    workspace.run("gto", "register", "best", "--version", "v1.0.0")
    workspace.run("gto", "assign", "best", "--version", "v1.0.0", "--stage", "prod")
    for option in (["--stage", "prod"], ["--rev", "v1.0.0"], []):
        out = str(tmp_path / "".join(["fetched", *option]))
        workspace.run("dvc", "artifacts", "get", str(workspace.folder), "best", "-o", out, *option)
        assert Best.read(Path(out)) == Best.read(workspace.folder / "models/best")
        assert (Path(out) / "README.md").read_text().startswith("---\nlicense: ")
