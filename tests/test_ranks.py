"""Training shared by several processes (over gloo, on the CPU) is the training of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from bss.files import read_tensors
from bss.params import Runtime as RuntimeSettings
from bss.training.runtime import Runtime
from tests.toy import SETTINGS, packed_toy
from tests.workspace import ROOT

pytestmark = pytest.mark.xdist_group("ranks")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks") / "packed"
    packed_toy(folder)
    return folder


def train(
    packed: Path, out: Path, devices: int, strategy: str = "ddp", method: str = "joint", *, kill: bool = False,
    launcher: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    out.mkdir(exist_ok=True)
    arguments = [str(packed), str(out), str(devices), strategy, method, "kill" if kill else "live"]
    command = [sys.executable, *launcher, "-m", "tests.ranks", *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


def trained(packed: Path, out: Path, devices: int, strategy: str = "ddp", method: str = "joint") -> Path:
    done = train(packed, out, devices, strategy, method)
    assert done.returncode == 0, done.stderr
    return out / method


@pytest.fixture(scope="module")
def alone(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(packed, tmp_path_factory.mktemp("alone"), 1)


@pytest.fixture(scope="module", params=["ddp", "fsdp"])
def pair(request: pytest.FixtureRequest, packed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A strategy, and what two ranks left under it."""
    return request.param, trained(packed, tmp_path_factory.mktemp("pair"), 2, request.param)


def assert_alike(first: Path, second: Path) -> None:
    one, other = (read_tensors(folder / "found.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    for name, values in one.items():
        assert torch.allclose(values, other[name], atol=1e-4), name
    left, right = (pl.read_parquet(folder / "history.parquet") for folder in (first, second))
    for column in left.columns:
        if left[column].dtype.is_float():
            assert np.allclose(left[column], right[column], atol=1e-4), column
        else:
            assert left[column].equals(right[column]), column


def test_ranks_share_the_steps_of_one(pair: tuple[str, Path], alone: Path) -> None:
    _, out = pair
    seen = [json.loads((out / f"seen-{rank}.json").read_text()) for rank in range(2)]
    steps = [step["whole"] for step in json.loads((alone / "seen-0.json").read_text())]
    for of_rank in seen:
        assert [step["whole"] for step in of_rank] == steps, "the same samples a global step"
    for number, whole in enumerate(steps):
        shares = [of_rank[number]["own"] for of_rank in seen]
        assert {index for share in shares for index in share} == set(whole)
        assert sum(map(len, shares)) == len(whole), "20 and 16 samples are shared without a rest"
    assert_alike(alone, out)


def test_methods_that_leave_weights_untrained_for_a_while_are_shared_too(packed: Path, tmp_path: Path) -> None:
    """One start of the processes serves all methods."""
    methods = "unimodal,mla,reconboost,aug"
    trained(packed, tmp_path / "one", 1, method=methods)
    for strategy in ("ddp", "fsdp"):
        trained(packed, tmp_path / strategy, 2, strategy, methods)
        for method in methods.split(","):
            assert_alike(tmp_path / "one" / method, tmp_path / strategy / method)


def test_methods_that_look_inside_the_step_are_shared_by_ddp_alone(packed: Path, tmp_path: Path) -> None:
    methods = "fused_only,ogm,opm,mmpareto"
    trained(packed, tmp_path / "one", 1, method=methods)
    trained(packed, tmp_path / "ddp", 2, "ddp", methods)
    for method in methods.split(","):
        assert_alike(tmp_path / "one" / method, tmp_path / "ddp" / method)
    refused = train(packed, tmp_path / "fsdp", 2, "fsdp", "mmpareto")
    assert refused.returncode != 0
    assert "train.strategy: mmpareto takes gradients apart, which needs ddp, not fsdp" in refused.stderr


def test_it_resumes_with_as_many_ranks_and_refuses_another_number(
    pair: tuple[str, Path], packed: Path, tmp_path: Path
) -> None:
    (strategy, whole), broken = pair, tmp_path / "broken"
    assert train(packed, broken, 2, strategy, kill=True).returncode != 0
    assert not (broken / "joint/found.safetensors").exists()
    refused = train(packed, broken, 1)
    assert refused.returncode != 0
    assert "the interrupted training ran on 2 processes, this one has 1" in refused.stderr
    mended = trained(packed, broken, 2, strategy)
    steps, of_whole = (len(json.loads((folder / "seen-0.json").read_text())) for folder in (mended, whole))
    assert steps < of_whole
    assert (mended / "found.safetensors").read_bytes() == (whole / "found.safetensors").read_bytes()


def test_torchrun_starts_the_ranks_as_well(packed: Path, alone: Path, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = train(packed, tmp_path, 2, launcher=torchrun)
    assert done.returncode == 0, done.stderr
    assert_alike(alone, tmp_path / "joint")
    wrong = train(packed, tmp_path, 1, launcher=torchrun)
    assert wrong.returncode != 0
    assert "torchrun started 2 processes on each of 1 nodes, but train.devices is 1" in wrong.stderr


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8])
def test_shares_cover_a_batch_and_leave_no_rank_with_less_than_two(length: int) -> None:
    shares = []
    for rank in range(3):
        runtime = Runtime(RuntimeSettings(**SETTINGS.model_dump()))
        runtime.rank, runtime.num_ranks = rank, 3
        shares.append(runtime.share(np.arange(length)))
    assert len({len(share) for share in shares}) == 1
    assert len(shares[0]) >= 2
    together = np.stack(shares, axis=1).ravel()
    assert together[:length].tolist() == list(range(length)), "put together, the first rows are the batch"
