"""The same inputs give the same bytes, in another folder and however they are read."""

import hashlib
from pathlib import Path

import pytest

from tests.helpers.workspace import Workspace

pytestmark = pytest.mark.xdist_group("pipeline")  # that workspace is one of the two
FOLDERS = ("data/packed", "data/scores", "data/curricula", "models/warmup", "models/runs", "models/best", "reports")


def fingerprints(folder: Path) -> dict[str, str]:
    """The SHA-256 of every artifact of a workspace, by its path."""
    files = [path for part in FOLDERS for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.nightly
def test_workers_and_the_kind_of_cache_change_no_byte(
    tmp_path: Path, finished: tuple[Workspace, set[str]], forkservers: Path
) -> None:
    first, second = finished[0], Workspace(tmp_path / "elsewhere", forkservers)
    second.shrink()
    second.set(flow__num_workers=2, flow__max_parallel=1)
    second.dvc("config", "cache.type", "symlink")
    second.reproduce()
    assert (second.folder / "data/packed/train/audio.npy").is_symlink()
    found, again = fingerprints(first.folder), fingerprints(second.folder)
    assert len(found) > 30
    # The page names the parameters, of which two differ.
    differing = {path for path in found.keys() | again.keys() if found.get(path) != again.get(path)}
    assert differing == {"reports/report.html"}
    left, right = ((workspace.folder / "reports/report.html").read_text() for workspace in (first, second))
    for text, other in (("num_workers: 0", "num_workers: 2"), ("max_parallel: auto", "max_parallel: 1")):
        assert text in left
        left = left.replace(text, other)
    assert left == right
