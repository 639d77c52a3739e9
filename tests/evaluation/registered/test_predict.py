"""A registered model on new data: what it says, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

from bss.__main__ import app
from bss.errors import InputError
from bss.evaluation.comparing.statistics import paired_difference
from bss.evaluation.registered.card import Best, best_cell, figures, probability_columns, restored, spec
from bss.params import load
from bss.paths import Cell
from bss.training.methods.method import METHODS
from tests.helpers import ROOT
from tests.helpers.pairs import KINDS, make_pairs, rows, write
from tests.helpers.stages import FAST, run_stages

WORDS = {"name": "text", "length": 3}
RAW = Path("data/sample")
MISSING = {"sound": [2, 20], "note": [5, 21]}
"""Rows without a value."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every stage was run, with three modalities that may be missing."""
    folder = tmp_path_factory.mktemp("predict")
    (folder / RAW).mkdir(parents=True)
    make_pairs(folder / RAW)
    write(folder / RAW, table())
    data = {"name": "manifest", "file": f"{RAW}/pairs.csv", "kinds": {**KINDS, "note": WORDS}, "missing": "mask"}
    data["columns"] = {"label": "mood"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = {"name": "text_embedding"}
        run_stages(folder, data, {"sound": FAST, "picture": FAST, "note": text})
        register()
    return folder


@pytest.fixture(autouse=True)
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def table() -> pl.DataFrame:
    """The pairs with a text each, and holes."""
    pairs = rows().rename({"label": "mood"}).with_row_index("row")
    pairs = pairs.with_columns(note=pl.format("word {} of {}", pl.col("row") % 7, "mood"))
    for name, places in MISSING.items():
        pairs = pairs.with_columns(pl.when(~pl.col("row").is_in(places)).then(name).alias(name))
    return pairs.drop("row")


def register() -> None:
    from tasks.register import register as run

    run()


def unseen(folder: Path, name: str = "new.csv", **changed: str | None) -> Path:
    """The rows of the test split as a table of their own beside their files; the third one may be changed."""
    few = table().filter(pl.col("split") == "test").drop("split", "mood")
    for column, value in changed.items():
        kept = pl.int_range(pl.len()) != 3
        few = few.with_columns(pl.when(kept).then(pl.col(column)).otherwise(pl.lit(value)).alias(column))
    few.write_csv(folder / RAW / name)
    return RAW / name


def bss(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def reported() -> pl.DataFrame:
    return pl.read_parquet("reports/predictions/joint-random-0/predictions.parquet")


def check_is_as_reported(predicted: pl.DataFrame) -> None:
    found = reported()
    for output in found["output"].unique():
        one = found.filter(pl.col("output") == output)
        assert predicted["id"].to_list() == one["id"].to_list()
        own = predicted.select(f"{output}_happy", f"{output}_sad").to_numpy()
        assert np.abs(own - one["probabilities"].to_numpy()).max() < 1e-6, output


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("batch_size", [3, 256])
def test_raw_files_give_what_the_pipeline_reports(folder: Path, suffix: str, batch_size: int) -> None:
    done = bss(unseen(folder), "--out", f"said.{suffix}", "--batch-size", batch_size)
    assert done.exit_code == 0, done.output
    assert done.output == f"8 rows: {folder / f'said.{suffix}'}\n"
    predicted = pl.read_csv("said.csv") if suffix == "csv" else pl.read_parquet("said.parquet")
    assert predicted.columns[:4] == ["id", "prediction", "note_happy", "note_sad"]
    assert len(predicted.columns) == 2 + 4 * 2
    check_is_as_reported(predicted)
    fused = reported().filter(pl.col("output") == "fused")
    assert predicted["prediction"].to_list() == [("happy", "sad")[one] for one in fused["prediction"]]


def test_columns_that_would_have_one_name_are_refused(folder: Path) -> None:
    assert probability_columns(["a", "a_b"], ["c", "d"])["a_b", "c"] == "a_b_c"
    with pytest.raises(
        InputError, match=r"'a_b_c' would stand for the class 'b_c' of 'a' and the class 'c' of 'a_b'"
    ):
        probability_columns(["a", "a_b"], ["c", "b_c"])
    shutil.copytree("models/best", "models/alike", dirs_exist_ok=True)
    card = Path("models/alike/model.json")
    card.write_text(card.read_text().replace('"picture"', '"note_word"').replace('"sad"', '"word_happy"'))
    done = bss(unseen(folder), "--model", card.parent, "--out", "said.csv")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "the column 'note_word_happy' would stand for" in done.stderr


@pytest.mark.parametrize("rule", ["sum", "sum_all", "weighted"])
def test_the_rule_of_the_pipeline_decides(folder: Path, rule: str) -> None:
    from tasks.evaluate import evaluate

    before = Path("params.yaml").read_text()
    Path("params.yaml").write_text(
        yaml.safe_dump(yaml.safe_load(before) | {"evaluate": {"batch_size": 256, "rule": rule}})
    )
    try:
        evaluate("joint", "random", 0)
        register()
        assert bss(unseen(folder), "--out", "said.parquet").exit_code == 0
        predicted = pl.read_parquet("said.parquet")
        check_is_as_reported(predicted)
        judged = reported().filter(pl.col("output") == "judged")
        assert predicted["prediction"].to_list() == [("happy", "sad")[one] for one in judged["prediction"]]
    finally:
        Path("params.yaml").write_text(before)
        evaluate("joint", "random", 0)
        register()


def test_labels_give_the_accuracy_and_json_has_everything(folder: Path) -> None:
    table().filter(pl.col("split") == "test").write_csv(RAW / "labelled.csv")
    done = bss(RAW / "labelled.csv", "--json")
    answer = json.loads(done.stdout)
    metrics = json.loads(Path("reports/metrics/joint-random-0.json").read_text())
    assert answer["model"] == {"method": "joint", "scheduler": "random", "seed": 0}
    for output in ("sound", "picture", "note", "fused"):
        assert answer["accuracy"][output] == pytest.approx(metrics["outputs"][output]["accuracy"])
    first = reported().filter(pl.col("output") == "note").row(0, named=True)
    assert answer["rows"][0]["id"] == first["id"]
    assert list(answer["rows"][0]["probabilities"]["note"].values()) == pytest.approx(list(first["probabilities"]))


def test_what_stands_for_no_label_in_training_is_none_here(folder: Path) -> None:
    few = table().filter(pl.col("split") == "test")
    moods = ["nan", " ", *few["mood"][2:]]
    few.with_columns(mood=pl.Series(moods)).write_csv(RAW / "some.csv")
    done = bss(RAW / "some.csv")
    assert done.exit_code == 0, done.output
    assert f"{len(few) - 2} of {len(few)} rows have a label" in done.stdout


def test_a_person_sees_the_first_rows(folder: Path) -> None:
    few = pl.read_csv(unseen(folder)).drop("id")
    pl.concat([few] * 3).write_csv(RAW / "many.csv")
    lines = bss(RAW / "many.csv").output.splitlines()
    assert lines[0].split() == ["id", "prediction", "probability"]
    assert (lines[1].split()[:2], len(lines)) == (["row", "1"], 22)
    assert lines[-1].startswith("... and 4 more; --out FILE has all")
    assert max(map(len, lines)) <= 80
    few.head(3).with_columns(mood=pl.Series(["sad", None, "sad"])).write_csv(RAW / "some.csv")
    assert "2 of 3 rows have a label; of them:" in bss(RAW / "some.csv").output


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sound": "30.wve"}, r"new.csv: 1 row cannot be used\nrow 4 (clip 3), data/sample/30.wve: no such file"),
        ({"picture": "new.csv"}, r"row 4 (clip 3), new.csv: is no readable image"),
        ({"sound": None, "picture": None, "note": None}, r"row 4 (clip 3), note, picture, sound: no value"),
        ({"id": "clip 0"}, r"row 4 (clip 0), id: row 1 has the same id"),
        ({"note": "!"}, r"row 4 (clip 3), note: the text '!' holds no word"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(folder: Path, changed: dict[str, Any], message: str) -> None:
    done = bss(unseen(folder, **changed), "--out", "refused.csv")
    assert done.exit_code == 2
    assert message.replace(r"\n", "\n") in done.stderr
    assert not Path("refused.csv").exists()


def test_other_wrong_input_is_told_in_a_line(folder: Path) -> None:
    few = pl.read_csv(unseen(folder))
    few.rename({"picture": "pictur"}).write_csv(RAW / "column.csv")
    few.with_columns(mood=pl.lit("cross")).write_csv(RAW / "label.csv")
    Path("broken/a.csv").mkdir(parents=True, exist_ok=True)
    (Path("broken") / "model.safetensors").write_bytes(Path("models/best/model.safetensors").read_bytes())
    (Path("broken") / "model.json").write_text(
        Path("models/best/model.json").read_text().replace('"width": 8', '"width": 9')
    )
    shutil.copytree("models/best", "swapped", dirs_exist_ok=True)
    shutil.copy("models/runs/unimodal-random-0/model.safetensors", "swapped")
    for arguments, message in (
        ([RAW / "column.csv"], "unknown column 'picture'; did you mean 'pictur'?"),
        (
            [RAW / "label.csv"],
            f"{RAW}/label.csv, row 1: the label 'cross' is none of the model's classes (happy, sad)",
        ),
        ([RAW / "none.csv"], f"{RAW}/none.csv: no such file"),
        ([RAW], f"{RAW}: a folder; give the table in it"),
        ([RAW / "new.csv", "--out", "broken/a.csv"], "--out broken/a.csv is a folder; give the name of a file"),
        ([RAW / "new.csv", "--model", RAW], f"{RAW} holds no registered model: model.json is missing"),
        ([RAW / "new.csv", "--model", "broken"], "broken/model.safetensors does not fit the description beside it"),
        ([RAW / "new.csv", "--model", "swapped"], "swapped/model.safetensors is another file than the one that was"),
        ([RAW / "new.csv", "--model", "swapped/model.json"], "swapped/model.json is a file; give the folder of the"),
        ([RAW / "new.csv", "--out", "said.txt"], "--out said.txt: expected a name that ends in .csv or .parquet"),
        ([RAW / "new.csv", "--device", "gpu"], "--device gpu: expected auto, cpu or cuda"),
    ):
        done = bss(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), arguments
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("training", "name"), None, "a training method has no name"),
        (("encoders", "sound", "wdth"), 1, "unknown key 'wdth'; did you mean 'width'?"),
        (("encoders", "sound"), None, "modality 'sound' has no kind or no encoder"),
        (("kinds", "picture", "size"), -5, "-5: Input should be greater than 0"),
        (("kinds", "picture", "size"), 64, "kinds.picture: the shape ("),
        (("fusion", "name"), "glue", "unknown fusion 'glue'"),
        (("version",), 2, "unknown key 'version'"),
    ],
)
def test_a_description_that_does_not_hold_together_is_refused(
    folder: Path, place: tuple[str, ...], value: Any, message: str
) -> None:
    shutil.copytree("models/best", "other", dirs_exist_ok=True)
    card = json.loads(Path("other/model.json").read_text())
    *above, last = place
    part = card
    for key in above:
        part = part[key]
    part.pop(last, None)
    if value is not None:
        part[last] = value
    Path("other/model.json").write_text(json.dumps(card))
    done = bss(unseen(folder), "--model", "other")
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.output
    assert done.stderr.startswith("error: other/model.json")
    assert message in done.stderr


def test_registering_again_leaves_the_same_bytes(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in Path("models/best").iterdir()}
    register()
    assert {path.name: path.read_bytes() for path in Path("models/best").iterdir()} == before
    assert set(before) == {"README.md", "model.json", "model.safetensors"}
    assert str(folder).encode() not in before["model.json"]
    best = Best.read(Path("models/best"))
    history = pl.read_parquet("models/runs/joint-random-0/history.parquet").filter(pl.col("output") == "fused")
    assert best.validation_accuracy == history["validation_accuracy"].max()
    assert (best.columns, best.meta.masked) == ({"label": "mood"}, True)


def history(*epochs: tuple[float, float]) -> pl.DataFrame:
    """Accuracy and loss on validation, an epoch a row; the modality is always better."""
    drawn = [
        {"epoch": epoch, "output": output, "validation_accuracy": value, "validation_loss": loss}
        for epoch, (accuracy, loss) in enumerate(epochs)
        for output, value in (("sound", 1.0), ("fused", accuracy))
    ]
    return pl.DataFrame(drawn)


def test_the_best_is_chosen_by_the_fusion_on_validation_and_the_first_of_equal_ones() -> None:
    histories = {
        Cell("joint", "random", 0): history((0.7, 0.2), (0.5, 0.1)),
        Cell("joint", "learned", 0): history((0.6, 0.5), (0.8, 0.9), (0.8, 0.4)),
        Cell("joint", "learned", 1): history((0.8, 0.1)),
    }
    cell, kept = best_cell(histories, "best")
    assert (cell, kept["epoch"]) == (Cell("joint", "learned", 0), 2)
    cell, kept = best_cell(dict(reversed(histories.items())), "best")
    assert (cell, kept["epoch"]) == (Cell("joint", "learned", 1), 0)
    cell, kept = best_cell({**histories, Cell("joint", "learned", 0): history((0.9, 0.1), (0.1, 0.9))}, "last")
    assert cell == Cell("joint", "learned", 1)


def test_figures_are_of_the_seed_and_of_all() -> None:
    judged = {
        seed: {"outputs": {"fused": {"accuracy": value, "auc": None}}, "rule": "fused"}
        for seed, value in enumerate((0.5, 0.6, 0.9))
    }
    found = figures(judged, 1, 0.95)["fused"]
    reference = paired_difference([0.5, 0.6, 0.9], [0, 0, 0], 0.95)
    accuracy = found["accuracy"]
    values = [accuracy.value, accuracy.mean, accuracy.low, accuracy.high]
    assert values == pytest.approx([0.6, 2 / 3, reference.low, 1])
    assert reference.high > 1
    assert found["auc"].model_dump() == dict.fromkeys(("value", "mean", "low", "high"))
    alone = figures({1: judged[1]}, 1, 0.95)["fused"]["accuracy"]
    assert (alone.mean, alone.low, alone.high) == (0.6, None, None)


def test_a_described_component_comes_back_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    params = load(Path("params.yaml"))
    for method in params.methods.values():
        assert restored(METHODS, json.loads(json.dumps(spec(method)))) == method
    pacing = spec(params.curriculum.schedulers["heuristic"])["pacing"]
    assert pacing == {"name": "root", "start": 0.1} | {key: value for key, value in pacing.items() if key != "name"}
    assert pacing["name"] == "root"
