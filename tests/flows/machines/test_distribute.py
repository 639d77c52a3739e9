"""A grid over two workers of a process pool, each with a clone of its own, and a folder as the DVC remote."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.machines.share import fingerprints
from flows.pages.server import Server
from tests.helpers.machines import POOL, log_of, made, make_pool, ran, working
from tests.helpers.workspace import Workspace, locked

pytestmark = pytest.mark.xdist_group("distribute")  # one server, one remote


@pytest.fixture(scope="module", autouse=True)
def wanted(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--distribute"):
        pytest.skip("it takes minutes: make test-distribute")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for workspaces, and a server that has a pool."""
    base = tmp_path_factory.mktemp("distribute")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(base / "prefect"))
        patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
        patch.setenv("DO_NOT_TRACK", "1")
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # compiled files, dated, must not count as code
        server = Server.start()
        try:
            server.wait()
            patch.setenv("PREFECT_API_URL", server.url)
            make_pool()
            yield base
        finally:
            server.stop()


def distribute(workspace: Workspace, check: bool = True) -> subprocess.CompletedProcess[str]:
    return workspace.run("python", "-m", "bss", "distribute", "--pool", POOL, check=check)


@pytest.fixture(scope="module")
def grid(base: Path, forkservers: Path) -> tuple[Workspace, str]:
    """The workspace from which a grid was distributed, and what it printed."""
    sender, *workers = (made(base / name, forkservers, base / "remote") for name in ("sender", "one", "two"))
    with working(*workers):
        return sender, distribute(sender).stdout


def test_the_machines_compute_the_cells_and_the_sender_only_data_and_report(grid: tuple[Workspace, str]) -> None:
    sender, printed = grid
    assert sorted(ran(printed)) == ["methods", "preprocess", "register", "report"]
    assert len(re.findall(r"^seed [01]: Completed: ", printed, flags=re.MULTILINE)) == 2
    assert len(re.findall(r"^ *\d+/\d+ Restored ", printed, flags=re.MULTILINE)) == 14
    for name in ("one", "two"):
        log = log_of(sender.folder.parent / name).read_text()
        seeds = {stage[-1] for stage in ran(log)}
        assert len(ran(log)) == 7 and len(seeds) == 1, f"each machine takes a seed\n{log}"


def test_the_results_are_those_of_one_machine(grid: tuple[Workspace, str], base: Path, forkservers: Path) -> None:
    alone = made(base / "alone", forkservers)
    alone.reproduce()
    assert locked(alone.folder) == locked(grid[0].folder)


def test_only_what_is_new_is_asked_for_and_a_machine_with_other_code_or_parameters_refuses(
    grid: tuple[Workspace, str], base: Path, forkservers: Path
) -> None:
    sender, worker = grid[0], made(base / "other", forkservers, base / "remote")
    sender.set(grid__seeds=[0, 1, 2])
    (worker.folder / "tasks/train.py").write_text("# another")
    with working(worker):
        done = distribute(sender, check=False)
    assert done.returncode == 1
    assert "waiting for seed 2\n" in done.stdout
    assert re.search(r"^seed 2: Failed: /.*/other differs from the sender in params.yaml, tasks;", done.stdout, re.M)
    assert not ran(done.stdout)
    assert not (worker.folder / "data/packed").exists()


def test_what_is_missing_is_said_at_once(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "workspace")

    def refusal() -> str:
        done = workspace.run("python", "-m", "bss", "distribute", "--pool", "absent", check=False)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "no DVC remote for the machines to share" in refusal()
    workspace.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    assert "no work pool 'absent': prefect work-pool create --type process absent" in refusal()
    monkeypatch.delenv("PREFECT_API_URL")
    assert "no server: PREFECT_API_URL has to name one" in refusal()


def test_a_fingerprint_is_of_names_and_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("src/a.py", "src/__pycache__/a.pyc", "src/.~half", "params.yaml"):
        Path(text).parent.mkdir(exist_ok=True, parents=True)
        Path(text).write_text(text)
    before = fingerprints()
    assert before.keys() == {"src", "params.yaml"}
    Path("src/__pycache__/a.pyc").write_text("other")
    Path("src/.~half").unlink()
    assert fingerprints() == before
    Path("src/a.py").rename("src/b.py")
    assert fingerprints()["src"] != before["src"]
    assert fingerprints()["params.yaml"] == before["params.yaml"]
