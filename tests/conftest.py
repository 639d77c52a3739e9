"""Fixtures that several test files share."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bss.locks import held
from flows.pages.application import REPORTS
from flows.pages.server import ONE_RUN, Server
from flows.workspace.forkserver import FOLDER, LIBRARIES, start
from tests.helpers.served import Served, make_served_project, serving
from tests.helpers.workspace import Workspace

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from bss.data.packed import PackedSplit
    from bss.types import Split

# Of several workers each would have a thread a core, and the threads would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes by their number: some hold the second when they were made, and two workers have to name tests alike."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=3, help="how often tests/flows/workspace/test_faults.py kills a run"
    )
    parser.addoption("--faults-seed", type=int, default=0, help="of the moments and the ways of those kills")
    parser.addoption("--nightly", action="store_true", help="also what repeats other tests at greater length")
    parser.addoption("--ui", action="store_true", help="kill and stop what make ui starts, which takes minutes")
    parser.addoption(
        "--distribute", action="store_true", help="run the grids of tests/flows/machines, which take minutes"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups first: they take longest, and of two workers none should wait for the other's last group."""
    if not config.getoption("--nightly"):
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a CUDA device where there is none, before a fixture is set up for it."""
    if item.get_closest_marker("cuda"):
        from torch.cuda import is_available

        if not is_available():
            pytest.skip("no CUDA device here")


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "dict[Split, PackedSplit]":
    """The toy data of two and of three modalities, for files that have no splits of their own."""
    from tests.helpers.toy import packed_toy

    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


@pytest.fixture(scope="session")
def forkservers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of running fork servers, so that DVC and a stage start in milliseconds."""
    folder = tmp_path_factory.mktemp("forkservers")
    servers = [start(name, folder) for name in LIBRARIES]
    yield folder
    for server in servers:
        assert server.stdin is not None
        server.stdin.close()
        assert server.wait(timeout=20) == 0


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, forkservers: Path) -> tuple[Workspace, set[str]]:
    """A workspace in which the smallest grid has run, to be copied, and the stages that ran; one for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    with held(folder.with_suffix(".lock"), "process {pid} makes it", seconds=300):
        stages = folder / "stages.json"
        if not stages.exists():
            made = Workspace(folder / "workspace", forkservers)
            made.shrink()
            stages.write_text(json.dumps(sorted(made.reproduce())))
    return Workspace.at(folder / "workspace", forkservers), set(json.loads(stages.read_text()))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that Prefect has never seen; one for all runs, because a new database takes seconds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def api(home: Path) -> Iterator[str]:
    """A Prefect server as a user may have one, so that not every run has to start its own."""
    server = Server.start({**ONE_RUN, REPORTS: str(home / "reports")}, home=home / ".prefect")
    try:
        server.wait()
        yield server.url
    finally:
        server.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, forkservers: Path) -> Iterator[Served]:
    """A project of shell stages whose pages are open; of a module, because a server is never idle."""
    base = tmp_path_factory.mktemp("ui")
    with serving(make_served_project(base / "project"), base, **{FOLDER: str(forkservers)}) as served:
        yield served


@pytest.fixture(scope="session")
def ui_wanted(request: pytest.FixtureRequest) -> None:
    """Skip unless asked for; of the session, so that a skipped test starts no server."""
    if not request.config.getoption("--ui"):
        pytest.skip("it takes minutes: make test-ui")


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """A headless Chromium; tests that look at pages are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium (apt install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
