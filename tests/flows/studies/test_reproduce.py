"""A paper's table from a made-up tree in the publisher's layout: every epoch judged on test, and the whole run."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bss.data.datasets.dataset import DATASETS
from bss.errors import InputError, MissingInput
from bss.evaluation.reproduction.published import read_published
from bss.evaluation.reproduction.reader import effort, read_rows
from bss.evaluation.reproduction.table import Reproduction, format_reproduction
from bss.files import write_json
from bss.paths import Cell
from bss.paths import Workspace as Places
from flows.studies.reproduce_run import TABLES, composed
from tests.data.test_cremad import TINY, write_clips, write_folders
from tests.helpers import ROOT
from tests.helpers.stages import FAST, raw_root, run_to_curriculum
from tests.helpers.workspace import Workspace

PUBLISHED = read_published(ROOT / TABLES)
SMALL = [
    *(f"preprocess.{key}={value}" for key, value in TINY.items()),
    *(f"encoders.{name}={{name: mlp, width: 8, num_layers: 1}}" for name in ("audio", "video")),
    "train.epochs=3",
    "curriculum.epochs=3",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with parameters, presets and published figures, and the clips of CREMA-D."""
    for part in ("params.yaml", "presets", "comparisons"):
        (tmp_path / part).symlink_to(ROOT / part)
    write_folders(raw_root("cremad", tmp_path, monkeypatch))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_epoch_is_judged_on_test_and_its_weights_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.curriculum import curriculum
    from tasks.evaluate import evaluate
    from tasks.evaluate_by_test import evaluate_by_test
    from tasks.train import train

    write_folders(raw_root("cremad", tmp_path, monkeypatch))
    monkeypatch.chdir(tmp_path)
    run_to_curriculum(tmp_path, {"name": "cremad"} | TINY, {"audio": FAST, "video": FAST})
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text())
    raw["train"]["epochs"], raw["curriculum"]["epochs"], raw["by_test"] = 4, 5, {"seeds": [0]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    curriculum("random", 0)
    cell, places = Cell("joint", "random", 0), Places()
    train(*cell)
    assert len(list(places.epochs(cell).glob("*/model.safetensors"))) == 4
    kept = [
        path
        for path in places.epochs(cell).glob("0*/*")
        if path.read_bytes() == (places.run(cell) / path.name).read_bytes()
    ]
    assert kept, "the model is that of one of the epochs"
    evaluate(*cell)
    evaluate_by_test(*cell)
    epochs = json.loads(places.by_test(cell).read_text())["epochs"]
    validated = json.loads(places.metrics(cell).read_text())["outputs"]
    assert len(epochs) == 4
    assert epochs[int(kept[0].parent.name)] == validated, "judged as `evaluate` judges"
    assert not places.epochs(cell).exists()
    with pytest.raises(MissingInput, match="dvc repro --force --single-item train@joint-random-0"):
        evaluate_by_test(*cell)
    rows = [row for row in PUBLISHED.rows if row.key == "vanilla"]
    [found] = read_rows(rows, {0: places})
    assert found.chosen_on_test == (max(epoch["fused"]["accuracy"] for epoch in epochs),)
    assert found.by_validation == (validated["fused"]["accuracy"],)
    raw["by_test"] = {"seeds": []}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    train(*cell)
    assert not places.epochs(cell).exists(), "only where asked"


def test_the_rows_are_those_of_the_paper_and_the_preset_is_the_published_one(here: Path) -> None:
    run = composed("cremad", command="bss reproduce cremad", settings=SMALL[:-2])
    assert {row.key for row in run.rows} == {
        row.key for row in PUBLISHED.rows if row.key not in {"text", "image", "rgb", "flow", "depth"}
    }
    assert run.left_out == {}
    preset = yaml.safe_load((here / "presets/cremad-published.yaml").read_text())
    assert run.raw["train"] | preset["train"] == run.raw["train"]
    assert run.raw["curriculum"]["schedulers"]["learned"] == preset["curriculum"]["schedulers"]["learned"]
    assert run.raw["curriculum"]["schedulers"]["learned-released"]["variant"] == "released"
    assert run.params.methods["aug"].interval == 20  # type: ignore[attr-defined]
    seed = run.repeats[1]
    assert run.of(seed)["by_test"] == {"seeds": [1]} and run.of(seed)["grid"]["seeds"] == [1]
    targets = run.targets(seed)
    assert {"evaluate-by-test@joint-learned-1", "evaluate@aug_released-random-1"} < set(targets)
    assert targets.count("evaluate-alone@unimodal-random-1") == 1
    assert not [name for name in targets if name.startswith("evaluate@ogm-learned")], "the paper's rows, no product"
    assert composed("cremad", command="", rows="bss-l", settings=["flow.max_parallel=1"]).name == "reproduce-cremad"
    assert run.name.startswith("reproduce-cremad-"), "other values do not take the place of the paper's"


def test_a_row_that_does_not_suit_is_left_out_with_its_reason(here: Path) -> None:
    run = composed("cremad", command="", rows="vanilla, di-mml", settings=["train.epochs=1"])
    assert [row.key for row in run.rows] == ["vanilla"]
    assert "needs" in run.left_out["DI-MML"] and "epochs" in run.left_out["DI-MML"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"data_set": "cremat"}, InputError, "did you mean 'cremad'"),
        ({"data_set": "digits"}, InputError, "unknown data set with published figures 'digits'"),
        ({"data_set": "cremad", "rows": "bss-m"}, InputError, "unknown row 'bss-m'; did you mean 'bss-"),
        ({"data_set": "cremad", "settings": ["train.epoch=3"]}, InputError, "train: unknown key 'epoch'"),
        (
            {"data_set": "cremad", "rows": "di-mml", "settings": ["train.epochs=1"]},
            InputError,
            "none of them can be run",
        ),
        ({"data_set": "twitter2015"}, MissingInput, "resnet50-0676ba61.pth is missing.*https://download.pytorch.org"),
        *(
            ({"data_set": name}, MissingInput, "(?s)is missing. The folder .*comes? from http.*Set BSS_DATA to")
            for name in [*PUBLISHED.data_sets, *PUBLISHED.short]
            if name != "cremad"
        ),
    ],
)
def test_what_is_missing_or_wrong_is_refused(given: dict[str, str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        composed(command="", **given)


def test_the_published_figures_are_of_known_data_and_methods() -> None:
    assert set(PUBLISHED.data_sets) <= set(DATASETS)
    for row in PUBLISHED.rows:
        assert {*row.bss, *row.aug, *row.fields} <= set(PUBLISHED.data_sets), row.key
        assert row.bss or row.aug, row.key
    assert len({row.key for row in PUBLISHED.rows}) == len(PUBLISHED.rows)


def test_the_table_says_what_was_chosen_on_test_and_the_hours(tmp_path: Path) -> None:
    places = {seed: Places(tmp_path / str(seed)) for seed in range(2)}
    rows = [row for row in PUBLISHED.rows if row.key in {"vanilla", "bss-l", "aug"}]
    for seed, cell in [
        (0, Cell("joint", "random", 0)),
        (1, Cell("joint", "random", 1)),
        (0, Cell("joint", "learned", 0)),
    ]:
        outputs = [
            {"fused": {"accuracy": value}, "judged": {"accuracy": value + 0.01 * seed}} for value in (0.6, 0.8, 0.7)
        ]
        write_json({"outputs": outputs[0]}, places[seed].metrics(cell))
        write_json({"epochs": outputs}, places[seed].by_test(cell))
        write_json({"seconds": 7200 if cell.scheduler == "learned" else 3600}, places[seed].seconds(cell))
    found = effort(rows, places, 2)
    assert (found.num_done, found.num_cells, found.seconds) == (3, 6, 14400)
    assert found.seconds_left == (7200 + 2 * 4800) / 2
    text = format_reproduction(
        Reproduction(
            data_set="cremad", rows=read_rows(rows, places), left_out={}, effort=found, max_parallel=2,
            confidence=0.95, sources=PUBLISHED.sources, notes=(), command="bss reproduce cremad",
        )
    )  # fmt: skip
    assert max(map(len, text.splitlines())) <= 80
    assert "3 of 6 trainings done" in text and "4.0, to go about 2.3" in text
    vanilla, learned, aug = (
        re.split(r"  +", line) for line in text.splitlines() if re.match("vanilla|BSS-L|AUG", line)
    )
    assert vanilla == ["vanilla MML", "72.41", "80.5 [74.1, 86.9]", "60.5 [54.1, 66.9]", "2"]
    assert learned == ["BSS-L", "82.80", "80.0 [-]", "60.0 [-]", "1"]
    assert aug == ["AUG", "85.15 (AUG)", "-", "-", "0"]
    assert "chosen on test*" in text and "* As published, chosen on test" in text


COMMAND = ["python", "-m", "bss", "reproduce", "cremad", "--seeds", "1", *SMALL]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, api: str, forkservers: Path) -> Iterator[Workspace]:
    """A workspace, and clips as CREMA-D's publisher hands them out."""
    made = Workspace(tmp_path_factory.mktemp("reproduce"), forkservers)
    for part in ("presets", "comparisons"):
        (made.folder / part).symlink_to(ROOT / part)
    write_clips(made.folder / "raw/cremad")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", api)
        patch.setenv("BSS_DATA", str(made.folder / "raw"))
        yield made


@pytest.mark.nightly
@pytest.mark.xdist_group("compare")
def test_the_whole_table_of_a_made_up_tree_and_a_rerun_that_computes_nothing(workspace: Workspace) -> None:
    few = [*COMMAND, "--name", "all", "--rows", "concat,audio,video,bss-l"]
    printed = workspace.run(*few).stdout
    assert "4 rows x 1 seed on cremad" in printed
    assert "cremad: 3 of 3 trainings done" in printed
    printed = workspace.run(*COMMAND, "--name", "all").stdout
    results = workspace.folder / "reports/compare/all"
    table = json.loads((results / "table.json").read_text())
    assert "left out: DI-MML" in printed and "DI-MML" in table["left_out"]
    rows = {row["key"]: row for row in table["rows"]}
    assert len(rows) > 20
    for row in rows.values():
        assert row["chosen_on_test"]["mean"] >= row["by_validation"]["mean"], row["key"]
        assert len(row["by_validation"]["accuracies"]) == 1
    assert table["effort"]["num_done"] == table["effort"]["num_cells"]
    assert not list(workspace.folder.glob(".dvc/tmp/compare/all/*/models/epochs/*")), "no weights are left"
    assert not (workspace.folder / "data/packed").exists()
    again = workspace.run(*COMMAND, "--name", "all").stdout
    assert "stages: 0 to run" in again
    assert workspace.run(*COMMAND, "--name", "all", "--show").stdout.strip() in again
    assert (results / "table.md").read_text().startswith("# cremad: published figures and ours")
