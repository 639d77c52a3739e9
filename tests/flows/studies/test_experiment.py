"""A run with other values than params.yaml: refused at once where they are wrong, else in a workspace of its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bss import paths
from bss.__main__ import app
from bss.errors import InputError
from bss.parsing import assign, parsed, setting
from flows.revisions import git_commands as git
from flows.revisions.snapshot import snapshot
from flows.studies.experiment import Experiment
from flows.studies.workspaces import create
from tests.helpers import ROOT
from tests.helpers.workspace import Workspace

pytestmark = pytest.mark.xdist_group("flow")  # one worker, so that one server serves them all


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["run", "compare schedulers", "retrain"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("train.lr=many", "train.lr: 'many': Input should be a valid number"),
        ("train.lr=", "train.lr: None: Input should be a valid number"),
        ("train.learning_rate=1", "train: unknown key 'learning_rate'"),
        ("trian.lr=1", "unknown key 'trian'; did you mean 'train'?"),
        ("grid.seeds.0=5", "grid.seeds.0: grid.seeds is [0, 1, 2"),
        ("curriculum.schedulers.learned.bta=1", "unknown key 'bta'; did you mean 'beta'?"),
        ("grid.methods=[joint", "the value is no YAML"),
        ("=3", "'=3': expected key=value, for example train.epochs=20"),
        ("train..lr=3", "expected key=value"),
        ("encoders={audio: {name: mlpp}}", "unknown encoder 'mlpp'"),
    ],
)
def test_a_wrong_value_is_refused_at_once(command: str, given: str, message: str) -> None:
    for arguments in ([given], ["-S", given]):
        done = CliRunner().invoke(app, [*command.split(), *arguments])
        assert done.exit_code == 2, done.output
        assert message in done.stderr
        assert "Traceback" not in done.output


@pytest.mark.usefixtures("here")
def test_nothing_is_saved_where_nothing_is_given() -> None:
    done = CliRunner().invoke(app, ["run", "--save"])
    assert (done.exit_code, done.stderr.startswith("error: --save: no KEY=VALUE is given")) == (2, True)


def test_a_value_is_yaml_and_a_component_may_get_a_field_that_the_file_does_not_have() -> None:
    values = dict(
        map(
            setting,
            [
                "grid.seeds=[0,1]",
                "fusion={name: gated, width: 64}",
                "curriculum.schedulers.learned-online.beta=0.3",
                "augment.image={crop: 0.2}",
                "train.lr=1e-3",
                "raw='010'",
            ],
        )
    )
    raw: dict[str, Any] = parsed((ROOT / "params.yaml").read_text())
    for key, value in values.items():
        assign(raw, key, value, may_add=True)
    assert raw["grid"]["seeds"] == [0, 1]
    assert raw["fusion"] == {"name": "gated", "width": 64}
    assert raw["curriculum"]["schedulers"]["learned-online"]["beta"] == 0.3
    assert raw["augment"] == {"image": {"crop": 0.2}}
    assert (raw["train"]["lr"], raw["raw"]) == (0.001, "010")


@pytest.mark.usefixtures("here")
def test_each_choice_of_values_has_a_folder_of_its_own() -> None:
    given: list[dict[str, Any]] = [
        {"train.lr": 0.004},
        {"train.lr": 0.04},
        {"grid.seeds": [0, 1]},
        {"grid.seeds": [0], "train.lr": 0.004},
        {"fusion": {"name": "gated", "width": 64}},
        {"fusion": {"name": "gated", "width": 65}},
        {f"curriculum.schedulers.mine-{number}": {"name": "random"} for number in range(9)},
    ]
    labels = [Experiment.of(values).label for values in given]
    assert labels[0] == "train.lr=0.004"
    assert len(set(labels)) == len(labels)
    assert all(Path(label).name == label and len(label) < 100 for label in labels)


@pytest.fixture(scope="module")
def kept(
    finished: tuple[Workspace, set[str]], tmp_path_factory: pytest.TempPathFactory, api: str
) -> tuple[Workspace, str, str]:
    """A workspace with results in which an experiment was run; its state in git before, and what was printed."""
    workspace = finished[0].copied(tmp_path_factory.mktemp("experiment") / "workspace")
    for command in ("add -A", "-c user.name=n -c user.email=e commit -qm results"):
        workspace.run("git", *command.split())
    workspace.set(evaluate__batch_size=128)  # changed, but not committed: the experiment has it
    before = workspace.run("git", "status", "--porcelain").stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", api)
        printed = workspace.run("python", "-m", "bss", "run", "report.num_examples=2", "--name", "fewer").stdout
    return workspace, before, printed


def test_a_run_with_other_values_leaves_everything_as_it_was(kept: tuple[Workspace, str, str]) -> None:
    workspace, before, printed = kept
    assert printed.startswith("params.yaml stays as it is; this run works in .dvc/tmp/runs/fewer\n")
    assert " Restored  train@joint-random-0 " in printed, "from the cache of the user's workspace"
    assert workspace.run("git", "status", "--porcelain").stdout == before
    page = workspace.folder / "reports/runs/fewer/report.html"
    assert f"report: {page}\n" in printed
    assert page.is_file() and (page.parent / "summary.txt").is_file()


def test_a_named_run_is_an_experiment_that_dvc_and_the_diff_know(
    kept: tuple[Workspace, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, _, printed = kept
    monkeypatch.chdir(workspace.folder)
    assert "kept as the experiment fewer: bss diff HEAD fewer\n" in printed
    assert git.names()[-1] == "fewer"
    with snapshot("HEAD") as head, snapshot("fewer") as fewer:
        was, is_now = (parsed((each.folder / "params.yaml").read_text()) for each in (head, fewer))
        assert fewer.missing == (), "all results are in the cache"
    assert (was["report"]["num_examples"], is_now["report"]["num_examples"]) == (6, 2)
    assert is_now["evaluate"]["batch_size"] == 128
    with pytest.raises(InputError, match="an experiment of that name; another one, or dvc exp remove fewer"):
        Experiment.of({}, "fewer")
    with pytest.raises(InputError, match="expected letters"):
        Experiment.of({}, "../fewer")


@pytest.mark.nightly
def test_dvc_shows_and_applies_it(kept: tuple[Workspace, str, str]) -> None:
    workspace = kept[0].copied(kept[0].folder.with_name("other"))
    [_, head] = json.loads(workspace.run("python", "-m", "dvc", "exp", "show", "--json").stdout)
    assert [experiment["name"] for experiment in head["experiments"]] == ["fewer"]
    workspace.run("git", "checkout", "-q", ".")
    workspace.dvc("exp", "apply", "fewer")
    assert workspace.changed() == set()


def test_the_workspaces_beside_share_the_cache_of_the_user(
    kept: tuple[Workspace, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(kept[0].folder)
    beside = paths.Workspace(kept[0].folder / ".dvc/tmp/runs/other")
    assert create(beside)
    assert f"dir = {kept[0].folder / '.dvc/cache'}\n" in (beside.folder / ".dvc/config").read_text()
