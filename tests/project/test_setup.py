"""What `make` installs into .venv."""

import re
import subprocess
from importlib.metadata import requires

from tests.helpers import ROOT

OF_CUDA = ("nvidia-", "cuda-", "triton")
LOCK = (ROOT / "requirements.lock").read_text().splitlines()


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = ["make", "--dry-run", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_build_for_the_cpu_leaves_out_what_only_cuda_needs_and_nothing_else() -> None:
    lines = make("--what-if", "pyproject.toml", ".venv/ready", "TORCH=cpu").stdout.splitlines()
    [chosen] = (line.partition(" > ")[0] for line in lines if line.startswith("grep"))
    kept = subprocess.check_output(chosen, shell=True, cwd=ROOT, text=True).splitlines()
    names, left_out = ({line.partition("==")[0] for line in some} for some in (kept, {*LOCK} - {*kept}))
    assert left_out and all(name.startswith(OF_CUDA) for name in left_out)
    assert not any(name.startswith(OF_CUDA) for name in names)
    assert {"torch", "torchvision", "uv"} <= names
    on_linux = {
        re.split(r"[^\w-]", line)[0] for line in requires("torch") or [] if 'platform_system == "Linux"' in line
    }
    assert on_linux <= left_out, "what torch needs on Linux alone is of CUDA"
    [synced] = (line for line in lines if "pip sync" in line)
    assert "--torch-backend cpu" in synced
    assert "||" not in synced, "where it cannot, the large one is not what was asked for"


def test_another_choice_is_refused() -> None:
    assert "TORCH=gpu: the choice is TORCH=cpu" in make("run", "TORCH=gpu").stderr
