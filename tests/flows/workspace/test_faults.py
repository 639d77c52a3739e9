"""Nothing is lost: a run killed at random moments ends with the bytes of one that was never interrupted.

`make test-faults` strikes twenty times. Of the suite test_kills.py is the short form.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.faults import Faults, begin_anew, results
from tests.helpers.workspace import Workspace

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.nightly]


def make(folder: Path, num_seeds: int) -> Workspace:
    """A small grid whose trainings take seconds, so that a kill falls into them."""
    folder.mkdir()
    made = Workspace(folder / "workspace")
    made.shrink()
    epochs = 20 * num_seeds
    made.set(grid__seeds=list(range(num_seeds)), warmup__epochs=epochs, train__epochs=epochs)
    made.set(curriculum__epochs=2 * epochs)
    if num_seeds == 1:
        made.set(grid__schedulers=["random"])
    return made


@pytest.fixture(scope="module")
def num_seeds(request: pytest.FixtureRequest) -> int:
    return 1 if request.config.getoption("--kills") < 10 else 2


@pytest.fixture(scope="module", autouse=True)
def server(request: pytest.FixtureRequest, num_seeds: int) -> Iterator[None]:
    """In the short form one Prefect server serves all runs; in the long one each has its own, to be killed too."""
    with pytest.MonkeyPatch.context() as patch:
        if num_seeds == 1:
            patch.setenv("PREFECT_API_URL", request.getfixturevalue("api"))
        yield


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, num_seeds: int) -> dict[str, Any]:
    workspace = make(tmp_path_factory.mktemp("uninterrupted") / "parent", num_seeds)
    workspace.flow()
    return results(workspace)


def test_a_run_killed_at_any_moment_ends_with_the_bytes_of_one_that_was_not(
    tmp_path: Path, uninterrupted: dict[str, Any], num_seeds: int, request: pytest.FixtureRequest
) -> None:
    num_kills, seed = request.config.getoption("--kills"), request.config.getoption("--faults-seed")
    print(f"{num_kills} kills, seed {seed}")  # noqa: T201
    faults = Faults(make(tmp_path / "parent", num_seeds), seed)
    while len(faults.blows) < num_kills or not faults.fell_into_training:
        if not faults.strike():
            assert results(faults.workspace) == uninterrupted, f"after {faults}"
            begin_anew(faults.workspace)
    faults.finish()
    assert results(faults.workspace) == uninterrupted, f"after {faults}"
    assert not [*faults.workspace.folder.rglob(".~*")], "unfinished files are cleared away"
