"""What machines share through a remote."""

import json
from pathlib import Path

import pytest
import yaml

from tests.helpers.workspace import Workspace, locked

pytestmark = [pytest.mark.xdist_group("pipeline"), pytest.mark.nightly]  # that workspace is gone on from
METRICS = "reports/metrics/joint-random-0.json"


def ask(workspace: Workspace, function: str) -> str:
    """What a function of `flows.machines.remote` gives, in a workspace."""
    program = f"from flows.machines.remote import *; import json; print(json.dumps(sorted({function}() or [])))"
    return workspace.run("python", "-c", program).stdout.splitlines()[-1]


def test_what_is_fetched_takes_the_place_of_other_metrics_that_git_has(
    finished: tuple[Workspace, set[str]], tmp_path: Path
) -> None:
    done, stages = finished
    sender = done.copied(tmp_path / "sender")
    sender.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    ask(sender, "push")
    fresh = Workspace(tmp_path / "fresh", done.forkservers)
    fresh.shrink()
    fresh.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    for name in ("joint-random-0", "of-another-grid"):
        other = fresh.folder / METRICS.replace("joint-random-0", name)
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_text('{"outputs": {}}')
    lock = locked(sender.folder)
    stage = lock["stages"]["evaluate@joint-random-0"]
    for each in (stage["deps"][0], *stage["outs"]):
        each["md5"] = "0" * 32
    (fresh.folder / "dvc.lock").write_text(yaml.safe_dump({**lock, "stages": {"evaluate@joint-random-0": stage}}))
    assert set(json.loads(ask(fresh, "restore"))) >= stages - {"report", "register"}
    assert (fresh.folder / METRICS).read_bytes() == (sender.folder / METRICS).read_bytes()
    assert other.exists(), "what no stage of the grid makes stays"
