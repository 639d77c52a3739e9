"""Training shared by several processes (over gloo, on the CPU) is the training of one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bss.files import read_tensors
from bss.training.methods.method import METHODS
from bss.training.objectives.objective import OBJECTIVES
from bss.training.runtime import Runtime
from bss.training.settings import RuntimeSettings
from tests.helpers import ROOT, python_path
from tests.helpers.methods import TELLING, telling
from tests.helpers.processes import KILLED, main
from tests.helpers.toy import SETTINGS, packed_toy

pytestmark = pytest.mark.xdist_group("ranks")  # one start of the processes for all
ALL = sorted(METHODS, key="joint".__ne__)
"""Every method; the first is the one that is killed. By day a few stand for all."""
UNDER_TORCHRUN = """
import sys
from bss.training.runtime import Runtime
from tests.helpers.methods import TELLING, telling
from tests.helpers.processes import main
from tests.helpers.toy import SETTINGS
try:
    Runtime.start(SETTINGS)
except ValueError as error:
    print(error, flush=True)
main(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks") / "packed"
    packed_toy(folder)
    return folder


def train(
    packed: Path, out: Path, strategy: str = "ddp", methods: str = "joint", *, kill: bool = False,
    launcher: tuple[str, ...] = ("-m", "tests.helpers.processes"),
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """What two ranks leave in `out`."""
    arguments = [str(packed), str(out), "2", strategy, methods, "kill" if kill else "live"]
    environment = os.environ | {"PYTHONPATH": python_path(ROOT, ROOT / "src")}
    return subprocess.run(
        [sys.executable, *launcher, *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def names(request: pytest.FixtureRequest) -> str:
    """The methods of this session, as the processes take them."""
    return ",".join(ALL if request.config.getoption("--nightly") else [name for name in ALL if name in TELLING])


@pytest.fixture(scope="module")
def alone(packed: Path, names: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a training of one process left, method by method."""
    out = tmp_path_factory.mktemp("alone")
    main(str(packed), str(out), "1", "ddp", names, "live")
    return out


@pytest.fixture(scope="module", params=["ddp", pytest.param("fsdp", marks=pytest.mark.nightly)])
def pair(
    request: pytest.FixtureRequest, packed: Path, names: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A strategy, and what two ranks left under it: one start serves all methods and the training that is killed."""
    out = tmp_path_factory.mktemp("pair")
    done = train(packed, out, request.param, names, kill=True)
    assert done.returncode == KILLED, done.stderr
    return request.param, out


def assert_alike(first: Path, second: Path) -> None:
    one, other = (read_tensors(folder / "found.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert torch.allclose(values, other[name], atol=1e-4), name
    left, right = (pl.read_parquet(folder / "history.parquet") for folder in (first, second))
    for column in left.columns:
        if left[column].dtype.is_float():
            assert np.allclose(left[column], right[column], atol=1e-4, equal_nan=True), column
        else:
            assert left[column].equals(right[column]), column


def test_ranks_share_the_steps_of_one(pair: tuple[str, Path], alone: Path) -> None:
    _, out = pair
    seen = [json.loads((out / f"joint/seen-{rank}.json").read_text()) for rank in range(2)]
    steps = [step["whole"] for step in json.loads((alone / "joint/seen-0.json").read_text())]
    for of_rank in seen:
        assert [step["whole"] for step in of_rank] == steps, "the same samples a global step"
    for number, whole in enumerate(steps):
        shares = [of_rank[number]["own"] for of_rank in seen]
        assert {index for share in shares for index in share} == set(whole)
        assert sum(map(len, shares)) == len(whole), "20 and 16 samples are shared without a rest"


@pytest.mark.parametrize("method", telling(ALL))
def test_a_method_is_shared_by_the_strategies_that_it_names(method: str, pair: tuple[str, Path], alone: Path) -> None:
    strategy, out = pair
    if strategy in METHODS[method].strategies:
        assert_alike(alone / method, out / method)
    else:
        for rank in range(2):
            refusal = (out / method / f"refused-{rank}").read_text()
            assert re.fullmatch(rf"spread\.strategy: {method} .*needs ddp, not fsdp", refusal)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_an_objective_is_shared(objective: str, pair: tuple[str, Path], alone: Path) -> None:
    one, other = (read_tensors(out / f"objective-{objective}/found.safetensors") for out in (alone, pair[1]))
    assert one.keys() == other.keys()
    for name, values in other.items():
        assert values.isfinite().all()
        if objective != "umurl":  # the projectors' batch statistics are those of a process's own rows
            assert torch.allclose(values, one[name], atol=1e-4), name


@pytest.mark.nightly
def test_it_resumes_with_as_many_ranks_and_refuses_another_number(pair: tuple[str, Path], packed: Path) -> None:
    (strategy, out), broken = pair, pair[1] / "broken"
    assert not (broken / "joint/found.safetensors").exists()
    with pytest.raises(ValueError, match="the interrupted training ran on 2 processes, this one has 1"):
        main(str(packed), str(broken), "1", "ddp", "joint", "live")
    done = train(packed, broken, strategy)
    assert done.returncode == 0, done.stderr
    steps, of_whole = (len(json.loads((folder / "joint/seen-0.json").read_text())) for folder in (broken, out))
    assert steps < of_whole
    mended, whole = ((folder / "joint/found.safetensors").read_bytes() for folder in (broken, out))
    assert mended == whole


@pytest.mark.nightly
def test_torchrun_starts_the_ranks_as_well(packed: Path, alone: Path, tmp_path: Path) -> None:
    (script := tmp_path / "ranks.py").write_text(UNDER_TORCHRUN)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script))
    done = train(packed, tmp_path, launcher=torchrun)
    assert done.returncode == 0, done.stderr
    assert_alike(alone / "joint", tmp_path / "joint")
    assert done.stdout.count("torchrun started 2 processes on each of 1 nodes, but spread.devices is 1") == 2


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8])
def test_shares_cover_a_batch_and_leave_no_rank_with_less_than_two(length: int) -> None:
    shares = []
    for rank in range(3):
        runtime = Runtime.start(RuntimeSettings(**SETTINGS.model_dump()))
        runtime.rank, runtime.num_ranks = rank, 3
        shares.append(runtime.share(np.arange(length)))
    assert len({len(share) for share in shares}) == 1
    assert len(shares[0]) >= 2
    together = np.stack(shares, axis=1).ravel()
    assert together[:length].tolist() == list(range(length)), "put together, the first rows are the batch"
