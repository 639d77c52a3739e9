"""Deployments as `make ui` serves them: a server, a worker, and a project of shell stages."""

import fcntl
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
import yaml
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed

from bss.errors import InputError
from bss.parsing import checked, read_mapping
from flows.pages.automations import tell_of_failures
from flows.pages.configuration import Definitions
from flows.pages.form import lay_over
from flows.pages.turns import in_turn
from flows.workspace.lock import occupied
from tests.helpers import ROOT
from tests.helpers.runs import make_project, run, started
from tests.helpers.served import BLOCK, GRAPH, Served, lives, make_served_project, serving, wait
from tests.helpers.webhook import listening

pytestmark = pytest.mark.xdist_group("ui")  # one server serves them all
SECONDS_TO_STOP = 15.0
TELL = "from flows.commands.retrain import _tell; _tell('main', ['joint-random: lost 3.0 points'], is_named=False)"


def artifacts(served: Served, run: str) -> dict[str, Any]:
    found = served.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}})
    return {artifact["key"]: artifact for artifact in found}


def test_the_deployments_are_those_of_the_file_and_their_forms_come_from_the_schema(served: Served) -> None:
    names = {each["name"]: each for each in served.ask("deployments/filter")}
    assert names.keys() == {"pipeline", "nightly", "retrain-on-change", "compare"}
    (schedule,) = names["nightly"]["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 3 * * *", "Europe/Berlin")
    schema = names["pipeline"]["parameter_openapi_schema"]
    assert schema["properties"]["grid"]["default"]["seeds"] == [0, 1, 2, 3]
    grid, train = (schema["definitions"][name]["properties"] for name in ("OfferedGrid", "Train"))
    assert "learned-online" in grid["schedulers"]["items"]["enum"]
    assert "unimodal" not in grid["methods"]["items"]["enum"]
    assert train["lr_schedule"]["enum"] == ["constant", "cosine", "step"] and train["lr"]["description"]
    studies = names["compare"]["parameter_openapi_schema"]["properties"]["study"]
    assert set(studies["enum"]) == {path.stem for path in (ROOT / "comparisons").glob("*.yaml")}


def test_a_page_of_another_site_can_start_nothing(served: Served) -> None:
    address, content = f"{served.api}/flows/", '{"name": "foreign"}'
    assert httpx.post(address, content=content).status_code == 403  # which a browser sends without asking
    other = {"Origin": "http://example.org"}
    assert "Access-Control-Allow-Origin" not in httpx.get(f"{served.api}/csrf-token?client=a", headers=other).headers


@pytest.fixture(scope="module")
def first_run(served: Served) -> str:
    (served.project / "accuracy.json").write_text('[{"run": "joint", "accuracy": 0.5}]')
    run = served.start(train=offered_training(served) | {"epochs": 7})
    assert served.ended(run)[0] == "Completed"
    return run


def offered_training(served: Served) -> dict[str, Any]:
    schema = served.deployment("pipeline/pipeline")["parameter_openapi_schema"]
    return dict(schema["properties"]["train"]["default"])


def test_a_run_shows_its_progress_its_table_and_its_report(served: Served, first_run: str) -> None:
    shown = artifacts(served, first_run)
    progress = shown["train-joint-0"]
    assert (progress["data"], progress["description"]) == (100.0, "loss=0.25 accuracy=0.9")
    assert shown["summary"]["data"].startswith("| method |\n\n### Change against the last successful run\n")
    (link,) = re.findall(r"\((http.*)\)", shown["report"]["data"])
    assert httpx.get(link).text == "train:\n  epochs: 7\n"


def logged(served: Served, run: str, message: str) -> None:
    """Waits until a run has logged this: Prefect sends what it logs in batches, the last after the run has ended."""
    of_run = {"flow_run_id": {"any_": [run]}}
    wait(lambda: message in [log["message"] for log in served.ask("logs/filter", logs=of_run)])


def test_a_run_writes_what_its_form_changed(served: Served, first_run: str) -> None:
    offered = offered_training(served)["epochs"]
    logged(served, first_run, f"params.yaml: train.epochs: {offered} -> 7")
    was, is_now = ((folder / "params.yaml").read_text() for folder in (ROOT, served.project))
    assert is_now == was.replace(f"\ntrain:\n  epochs: {offered}", "\ntrain:\n  epochs: 7")
    with pytest.raises(AssertionError, match="409"):  # what a section does not allow, the server refuses
        served.start(grid={"seeds": [0], "methods": ["joint"], "schedulers": ["rnadom"]})


@pytest.mark.nightly
def test_a_second_run_shows_the_change_of_the_results(served: Served, first_run: str) -> None:
    assert served.state(first_run)["type"] == "COMPLETED"
    path = served.project / "params.yaml"
    before = path.read_text()
    (served.project / "accuracy.json").write_text('[{"run": "joint", "accuracy": 0.75}]')
    run = served.start(train=offered_training(served) | {"epochs": 11})
    assert served.ended(run)[0] == "Completed"
    assert path.read_text() == before.replace("\ntrain:\n  epochs: 7\n", "\ntrain:\n  epochs: 11\n")
    logged(served, run, "params.yaml: train.epochs: 7 -> 11")
    assert "| joint | 50.0 | 75.0 | +25.0 |" in artifacts(served, run)["summary"]["data"]


def test_what_was_left_as_it_was_offered_stays_as_the_file_has_it(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    path.write_text(text.replace("max_parallel: auto", "max_parallel: 3"))  # since the form was made
    offered = {"flow": {"max_parallel": 2}, "evaluate": {"batch_size": 256, "rule": "fused"}}
    chosen = {**offered, "evaluate": {"batch_size": 256, "rule": "sum"}}
    assert lay_over(path, chosen, offered) == ["evaluate.rule: fused -> sum"]
    assert yaml.safe_load(path.read_text())["flow"]["max_parallel"] == 3


def test_what_does_not_fit_together_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    with pytest.raises(ValueError, match="^parameters of the run: grid.schedulers: 'random' is missing; the others"):
        lay_over(path, {"grid": {"schedulers": ["learned"]}}, {})
    assert path.read_text() == (ROOT / "params.yaml").read_text()


@pytest.mark.nightly
def test_a_second_run_waits_and_cancelling_the_first_stops_its_stage(served: Served) -> None:
    first, pid = served.slowly(600)
    second = served.start("pipeline/nightly", stages=["prepare"])
    time.sleep(4)
    assert served.state(second)["type"] == "SCHEDULED"
    served.ask(f"flow_runs/{first}/set_state", state={"type": "CANCELLING"})
    wait(lambda: not lives(pid), SECONDS_TO_STOP)
    assert served.ended(first)[0] == "Cancelled"
    assert served.ended(second)[0] == "Completed"


@pytest.mark.usefixtures("ui_wanted")
def test_a_run_that_is_killed_crashes_and_frees_its_place(served: Served) -> None:
    run, pid = served.slowly(600)
    os.kill(flow_of(served), signal.SIGKILL)
    wait(lambda: not lives(pid), SECONDS_TO_STOP)
    assert served.ended(run)[0] == "Crashed"
    assert served.ended(served.start(stages=["slow"]))[0] == "Completed"


@pytest.mark.nightly
def test_a_change_of_the_workspace_starts_the_deployment_that_waits_for_it(served: Served) -> None:
    def watch() -> tuple[int, str]:
        return run(served.project, "-m", "bss", "watch", "--once", HOME=str(served.project.parent))

    (served.project / "seconds.txt").write_text("0\n")
    (served.project / "accuracy.json").write_text('[{"run": "joint", "accuracy": 0.8}]')
    status, output = watch()
    assert status == 1 and re.match(r"bss.workspace.changed: the workspace; out of date: .*\breport\b.*\n$", output)
    of_deployment = {"id": {"any_": [served.deployment("pipeline/retrain-on-change")["id"]]}}
    wait(lambda: served.ask("flow_runs/filter", deployments=of_deployment))
    (started,) = served.ask("flow_runs/filter", deployments=of_deployment)
    assert served.ended(started["id"])[0] == "Completed"
    assert watch() == (0, "")


@pytest.fixture
def client(served: Served) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: served.api}), SyncPrefectClient(served.api) as client:
        yield client


def test_a_block_that_is_not_there_is_named_and_the_pages_open_all_the_same(served: Served) -> None:
    assert f"prefect.yaml: definitions.notify: the server has no block {BLOCK}, so nobody is told" in served.welcome


def test_failed_runs_and_failed_retrainings_are_told(served: Served, client: SyncPrefectClient) -> None:
    with listening() as (address, messages):
        content = {"subject": "{{subject}}", "body": "{{body}}"}
        webhook = CustomWebhookNotificationBlock(name="team", url=address, json_data=content, headers={}, cookies={})
        webhook.save("team", overwrite=True)
        pipeline = served.deployment("pipeline/pipeline")["id"]
        deployed = [f"prefect.deployment.{pipeline}"]
        tell_of_failures(client, "bss", deployed, BLOCK)
        tell_of_failures(client, "bss", deployed, BLOCK)  # opened anew, it tells once all the same

        failed = served.ask(f"deployments/{pipeline}/create_flow_run", state={"type": "PENDING"})["id"]
        state = {"type": "FAILED", "name": "Failed", "message": "1 Failed, 2 NotReady"}
        served.ask(f"flow_runs/{failed}/set_state", state=state)
        message = messages.get(timeout=60)
        assert message["subject"] == "bss: failed"
        assert re.fullmatch(r"pipeline [\w-]+: Failed\n1 Failed, 2 NotReady", message["body"])

        status, output = run(served.project, "-c", TELL, HOME=str(served.project.parent))
        assert (status, output) == (0, "")
        assert messages.get(timeout=60)["body"] == "Compared with main:\njoint-random: lost 3.0 points"

        tell_of_failures(client, "bss", deployed, None)
        assert not [each for each in served.ask("automations/filter") if "told" in each["name"]]
        assert messages.empty()


def test_a_block_that_tells_nobody_is_refused(client: SyncPrefectClient) -> None:
    Secret(value="x").save("team", overwrite=True)
    with pytest.raises(InputError, match="definitions.notify: secret/team is no notification block"):
        tell_of_failures(client, "bss", [], "secret/team")


@pytest.mark.parametrize("block", ["team", "Slack Webhook/team", "slack-webhook/", ""])
def test_a_block_is_named_by_type_and_name(block: str) -> None:
    given = read_mapping(ROOT / "prefect.yaml")["definitions"] | {"notify": block}
    with pytest.raises(InputError, match=r"^prefect\.yaml: notify: "):
        checked(given, Definitions, Path("prefect.yaml"))


def test_a_retraining_that_nobody_hears_of_fails_all_the_same(tmp_path: Path) -> None:
    (tmp_path / ".prefect").mkdir()
    (tmp_path / ".prefect/api").write_text("http://127.0.0.1:9/api")
    status, output = run(tmp_path, "-c", TELL, HOME=str(tmp_path))
    assert status == 0 and output.startswith("nobody is told: no server answers at http://127.0.0.1:9/api")


@contextmanager
def watching(served: Served) -> Iterator["subprocess.Popen[str]"]:
    arguments = ("-m", "bss", "watch", "--seconds", "0.5")
    with started(served.project, *arguments, HOME=str(served.project.parent), PYTHONUNBUFFERED="1") as process:
        yield process


@pytest.mark.usefixtures("ui_wanted")
def test_the_watch_tells_each_change_once_and_none_while_a_run_is_at_work(served: Served) -> None:
    (served.project / "seconds.txt").write_text("0\n")
    assert served.ended(served.start())[0] == "Completed"
    with watching(served) as process:
        assert process.stdout.readline().startswith("watching ")
        with (served.project / ".dvc/tmp/flow.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (served.project / "accuracy.json").write_text('[{"run": "joint", "accuracy": 0.9}]')
            assert not select.select([process.stdout.fileno()], [], [], 4)[0]
        assert process.stdout.readline() == "bss.workspace.changed: accuracy.json; out of date: report\n"


def flow_of(served: Served) -> int:
    return int((served.project / ".dvc/tmp/flow.lock").read_text())


def worker_of(served: Served) -> int:
    children = psutil.Process(served.process.pid).children()
    (found,) = (int(child.pid) for child in children if "worker" in child.cmdline())
    return found


def at_work_in(project: Path) -> list[str]:
    """The commands of the processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(project) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.usefixtures("ui_wanted")
def test_a_killed_worker_is_replaced_and_its_run_goes_on(served: Served) -> None:
    run, pid = served.slowly(20)
    os.kill(worker_of(served), signal.SIGKILL)
    name, message = served.ended(run)
    assert name == "Completed", message
    assert not lives(pid)
    assert served.ended(served.start(stages=["prepare"]))[0] == "Completed"


@pytest.mark.usefixtures("ui_wanted")
def test_a_run_that_was_killed_with_its_worker_crashes_and_frees_its_place(served: Served) -> None:
    run, pid = served.slowly(600)
    pipeline = served.deployment("pipeline/pipeline")["id"]
    pending = served.ask(f"deployments/{pipeline}/create_flow_run", state={"type": "PENDING"})["id"]
    for process in (worker_of(served), flow_of(served)):
        os.kill(process, signal.SIGKILL)
    wait(lambda: not lives(pid), SECONDS_TO_STOP)
    second = served.start(stages=["prepare"])
    for lost in (run, pending):
        assert served.ended(lost, seconds=180) == ("Crashed", "killed: no sign of life from it any more")
    assert served.ended(second)[0] == "Completed"


@pytest.mark.usefixtures("ui_wanted")
def test_nothing_is_left_of_what_was_stopped_or_killed(tmp_path: Path) -> None:
    project = make_served_project(tmp_path / "project")
    with serving(project, tmp_path) as served:
        stopped, _ = served.slowly(600)
        served.process.terminate()
        output, _ = served.process.communicate(timeout=60)
        assert served.process.returncode == 130, output
        wait(lambda: not at_work_in(project), SECONDS_TO_STOP)
    with serving(project, tmp_path) as served:
        assert served.state(stopped)["type"] == "CRASHED"
        killed, _ = served.slowly(600)
        os.kill(worker_of(served), signal.SIGKILL)  # so that its run is a child of nobody
        served.process.kill()
        wait(lambda: not at_work_in(project), SECONDS_TO_STOP)
    file = project / "prefect.yaml"
    file.write_text(re.sub(r"  - name: retrain-on-change.*?\n\n", "", file.read_text(), flags=re.DOTALL))
    with serving(project, tmp_path) as served:
        assert served.ended(killed, seconds=1) == ("Crashed", "killed with the worker")
        names = {each["name"] for each in served.ask("deployments/filter")}
        assert names == {"pipeline", "nightly", "compare"}, "what the file has no more is gone"
        assert len(served.ask("automations/filter")) == 1, "with its trigger"


def test_it_is_open_once_in_a_workspace(served: Served) -> None:
    status, output = run(served.project, "-m", "bss", "ui", HOME=str(served.project.parent))
    assert (status, output.count("\n")) == (3, 1)
    assert f"process {served.process.pid} shows the pages" in output


@pytest.mark.parametrize("text", ["definitions: {second_run: wait, pool: {name: bss}}", ""])
def test_a_wrong_prefect_yaml_is_refused_at_once(tmp_path: Path, text: str) -> None:
    project = make_project(tmp_path / "project", GRAPH)
    (project / "prefect.yaml").write_text(text)
    status, output = run(project, "-m", "bss", "ui", HOME=str(tmp_path))
    assert status == 2 and "Traceback" not in output, output
    assert "prefect.yaml: " in output


@pytest.mark.parametrize(
    ("port", "api", "expected"),
    [
        ("99999", "", (2, "65535")),
        ("0", "http://127.0.0.1:9/api", (1, "no server answers at http://127.0.0.1:9/api")),
    ],
)
def test_a_server_that_cannot_be_is_told_in_a_line(
    tmp_path: Path, port: str, api: str, expected: tuple[int, str]
) -> None:
    project = make_served_project(tmp_path / "project")
    status, output = run(project, "-m", "bss", "ui", "--port", port, HOME=str(tmp_path), PREFECT_API_URL=api)
    assert (status, "Traceback" in output) == (expected[0], False), output
    assert expected[1] in output


def test_where_a_second_run_is_refused_it_ends_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_served_project(tmp_path / "project"))
    text = Path("prefect.yaml").read_text()
    Path("prefect.yaml").write_text(text.replace("second_run: queue", "second_run: refuse"))
    with occupied():
        state = in_turn(Completed)
    assert state.is_cancelled() and f"process {os.getpid()} is at work" in (state.message or "")
    assert in_turn(Completed).is_completed()
