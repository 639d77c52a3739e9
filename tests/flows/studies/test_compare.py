"""A comparison run for real, on a slice of data, in a workspace beside the user's."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
import yaml

from tests.helpers.workspace import Workspace

pytestmark = pytest.mark.xdist_group("compare")  # one workspace for all
STUDY = """
about: A test.
seeds: 2
schedulers:
  random: {}
  learned: {beta: [0.2], criteria: [[entropy]]}
"""


COMMAND = ["python", "-m", "bss", "compare", "tiny", "--on", "hard", "--set", "evaluate.batch_size=64"]


@pytest.fixture(scope="module")
def first_run(
    tmp_path_factory: pytest.TempPathFactory, api: str, forkservers: Path
) -> Iterator[tuple[Workspace, str]]:
    """A workspace in which the study was run, and what it printed."""
    made = Workspace(tmp_path_factory.mktemp("compare"), forkservers)
    made.shrink()
    (made.folder / "comparisons/on").mkdir(parents=True)
    (made.folder / "comparisons/tiny.yaml").write_text(STUDY)
    (made.folder / "comparisons/on/hard.yaml").write_text(
        "about: Damaged.\nparams: {preprocess: {name: tiny, damage: 0.5}}"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", api)
        yield made, made.run(*COMMAND).stdout


@pytest.fixture
def workspace(first_run: tuple[Workspace, str]) -> Workspace:
    return first_run[0]


def test_a_study_leaves_its_results_and_the_workspace_as_it_was(first_run: tuple[Workspace, str]) -> None:
    workspace, printed = first_run
    results = workspace.folder / "reports/compare/tiny-hard"
    assert printed.startswith("2 rows x 2 seeds on tiny\n")
    assert "\nstages: 9 to run, 0 up to date\n" in printed  # the data, what comes before the trainings, and the cells
    assert re.search(r"^\d/9 Completed seed 1 ", printed, flags=re.MULTILINE)
    assert re.search(r"^\d/9 Completed joint-random-1 ", printed, flags=re.MULTILINE)
    assert f"report: {results / 'page.html'}" in printed
    assert max(map(len, printed.replace(str(workspace.folder), "").splitlines())) <= 80
    rows = json.loads((results / "table.json").read_text())
    assert [row["label"] for row in rows] == ["random", "learned, beta 0.2, entropy"]
    assert {row["num_seeds"] for row in rows} == {2}
    assert rows[1]["difference"] == pytest.approx(rows[1]["accuracy"] - rows[0]["accuracy"])
    assert rows[0]["num_steps"] == rows[1]["num_steps"] > 0
    page = (results / "page.html").read_text()
    assert "bss compare tiny --on hard" in page
    assert "Damaged." in page
    assert (results / "report.html").exists()
    grid = yaml.safe_load((workspace.folder / "params.yaml").read_text())["grid"]
    assert grid["seeds"] == [0], "params.yaml is the user's"
    assert not (workspace.folder / "data/packed").exists(), "its artifacts lie in a workspace of their own"


def test_the_page_of_a_run_has_its_progress_its_table_and_its_link(
    first_run: tuple[Workspace, str], api: str
) -> None:
    shown = httpx.post(f"{api}/artifacts/filter", json={}, timeout=60).json()
    (cell,) = (each for each in shown if each["key"] == "joint-random-1")
    assert cell["data"] == 100.0 and "loss=" in cell["description"]
    assert any(each["key"] == "comparison" and each["data"].startswith("| row |") for each in shown)
    assert any("/reports/compare/tiny-hard/page.html" in str(each["data"]) for each in shown)


@pytest.mark.nightly
def test_a_rerun_computes_nothing(workspace: Workspace) -> None:
    done = workspace.run(*COMMAND)
    assert "\nstages: 0 to run, 9 up to date\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tny"], "unknown comparison 'tny'; did you mean 'tiny'"),
        (["tiny", "--on", "easy"], "unknown data set for --on 'easy' (known: hard)"),
        (["tiny", "--seeds", "0"], "'--seeds': 0: expected a whole number of at least 1"),
        (["tiny", "--set", "train.epoch=3"], "train: unknown key 'epoch'; did you mean 'epochs'?"),
        (["tiny", "--set", "train.epochs=many"], "train.epochs: 'many': Input should be a valid integer"),
        (["tiny", "--name", "../out"], "--name '../out'"),
    ],
)
def test_a_wrong_input_is_refused_at_once(workspace: Workspace, arguments: list[str], message: str) -> None:
    done = workspace.run("python", "-m", "bss", "compare", *arguments, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.nightly
def test_methods_are_chosen_on_validation_first(workspace: Workspace) -> None:
    (workspace.folder / "comparisons/chosen.yaml").write_text(
        "{about: A test., seeds: 1, tune: true, methods: [mmpareto, mla], schedulers: {random: {}}}"
    )
    done = workspace.run("python", "-m", "bss", "compare", "chosen", "--on", "hard")
    cells = [f"mmpareto_gamma_{value}" for value in ("1_0", "1_5")]
    trained = re.findall(r"Completed (\w+)-random-0", done.stdout)
    assert sorted(trained) == sorted([*cells, "mla", "unimodal"]), "what was tried is not trained again"
    results = workspace.folder / "reports/compare/chosen-hard"
    rows = json.loads((results / "table.json").read_text())
    assert [row["method"] for row in rows] == [rows[0]["method"], "mla"]
    assert rows[0]["method"] in cells
    assert rows[1]["accuracy_by_own_rule"] is not None
    assert rows[1]["first_difference"] == pytest.approx(rows[1]["accuracy"] - rows[0]["accuracy"])
    page = (results / "page.html").read_text()
    assert f"Chosen on validation, in the order of random, with 1 seed: {rows[0]['method']}. Tried: " in page


@pytest.mark.nightly
def test_a_failed_stage_fails_the_comparison(workspace: Workspace) -> None:
    results = workspace.folder / "reports/compare/tiny-hard/table.json"
    before = results.read_bytes()
    broken = workspace.folder / "tasks/evaluate.py"
    text = broken.read_text()
    broken.write_text(text.replace("    params = tasks.params()", '    raise ValueError("broken on purpose")'))
    done = workspace.run("python", "-m", "bss", "compare", "tiny", "--on", "hard", "--seeds", "1", check=False)
    broken.write_text(text)
    assert done.returncode == 1
    assert "ValueError: broken on purpose" in done.stdout
    assert (
        f"log: {workspace.folder}/.dvc/tmp/compare/tiny-hard/seed-0/logs/evaluate-unimodal-random-0.log"
        in done.stdout
    )
    assert results.read_bytes() == before


@pytest.mark.nightly
def test_active_learning_resumes_and_one_more_acquisition_runs_its_own_rounds(workspace: Workspace) -> None:
    command = ["python", "-m", "bss", "active", "--on", "hard", "--seeds", "1", "--rounds", "2", "active.initial=20"]
    command += ["active.per_round=10", "active.epochs=1"]
    printed = workspace.run(*command, "active.grid.acquisitions=[random]").stdout
    assert "1 acquisition x 1 seed on tiny: 20 labels, then 2 rounds of 10" in printed
    results = workspace.folder / "reports/compare/active-hard"
    first = json.loads((results / "table.json").read_text())
    assert [row["acquisition"] for row in first] == ["random"]
    printed = workspace.run(*command, "active.grid.acquisitions=[random, margin]").stdout
    assert re.search(r"stages: 1 to run, \d up to date", printed), printed
    table = {row["acquisition"]: row for row in json.loads((results / "table.json").read_text())}
    assert table["random"]["aubc"] == first[0]["aubc"]
    assert table["margin"]["difference"] is not None
    labelled = workspace.folder / ".dvc/tmp/compare/active-hard/seed-0/models/active/margin-0/2/labelled.parquet"
    assert pl.read_parquet(labelled)["round"].to_list() == [0] * 20 + [1] * 10 + [2] * 10
