"""The GPUs that the stages of a flow see."""

from pathlib import Path

import pytest

from tests.helpers.runs import make_project, run

pytestmark = pytest.mark.cuda
GRAPH = """
stages:
  train:
    cmd: >-
      python -c "import os, torch; print(torch.cuda.device_count(), os.environ['CUDA_VISIBLE_DEVICES'])" > train.txt
    outs: [train.txt]
"""


@pytest.mark.parametrize(("allowed", "seen"), [("0", "1 0"), ("", "0")])
def test_a_stage_sees_the_gpus_that_the_user_allows(allowed: str, seen: str, tmp_path: Path, api: str) -> None:
    project = make_project(tmp_path / "project", GRAPH)
    status, output = run(project, "-m", "bss", "run", "train", PREFECT_API_URL=api, CUDA_VISIBLE_DEVICES=allowed)
    assert status == 0, output
    assert (project / "train.txt").read_text().strip() == seen


def test_a_stage_gets_one_of_all_gpus_where_none_is_named(tmp_path: Path, api: str) -> None:
    project = make_project(tmp_path / "project", GRAPH)
    script = (
        "import os; del os.environ['CUDA_VISIBLE_DEVICES']; from flows.graph.machine import visible_gpus; "
        "from flows.graph.flow import pipeline; assert visible_gpus(), 'none in /dev'; "
        "pipeline(max_parallel=1, gpus=visible_gpus())"
    )
    status, output = run(project, "-c", script, PREFECT_API_URL=api)
    assert status == 0, output
    assert (project / "train.txt").read_text().startswith("1 ")
