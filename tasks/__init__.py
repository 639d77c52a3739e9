"""The stages of the pipeline, one verb a file: parameters -> one library call -> named artifacts."""

import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from tasks._forkserver import delegate
from tasks.lock import Busy, alone

if TYPE_CHECKING:
    from bss.params import Params
    from bss.training.checkpoint import Checkpoints

# The library that lies beside the stages: in a second checkout, such as that of an experiment of DVC, the installed
# one is that of the first.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

MethodName = Annotated[str, typer.Option("--method", help="A name under `methods` of params.yaml.")]
SchedulerName = Annotated[str, typer.Option("--scheduler", help="A name under `curriculum.schedulers`.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the weights and of every draw.")]
"""Options, because DVC quotes those for the shell, and nothing else that it fills in."""


def params() -> "Params":
    """The parameters of this workspace."""
    from bss.params import load

    return load(Path("params.yaml"))


def run(stage: Callable[..., None]) -> None:
    """Run a stage from the command line: its arguments are the options, what went wrong for its user is one line.

    Exit 2 is wrong input, 3 the same stage at work elsewhere, 1 a full disk or a fault of the stage.
    """
    status = delegate()
    if status is not None:
        sys.exit(status)

    from bss.files import FULL

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished files are cleared away
    try:
        with alone("-".join([stage.__name__, *sys.argv[1:]])) if _is_first_rank() else nullcontext():
            typer.run(stage)
    except (ValueError, FileNotFoundError) as error:
        leave(str(error), 2)
    except Busy as error:
        leave(str(error), 3)
    except OSError as error:
        if error.errno not in FULL:
            raise
        leave(f"{error}; make room and run again, what was finished is kept", 1)


def leave(message: str, status: int) -> NoReturn:
    """Say why nothing more happens, and exit."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


def _is_first_rank() -> bool:
    """Whether this process was started for the stage, not by it or `torchrun` to share in the training."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def checkpoints(params: "Params", cell: str, inputs: Iterable[Path]) -> "Checkpoints":
    """The checkpoints of a training."""
    from bss import paths
    from bss.training.checkpoint import Checkpoints, key

    free = {"train": {"checkpoint_minutes", "cache", "devices", "nodes", "strategy"}, "runtime": {"num_workers"}}
    sections = {"train", "runtime", "warmup", "score", "encoders", "fusion", "augment", "curriculum", "methods"}
    parts = params.model_dump(mode="json", include=sections, exclude=free)
    return Checkpoints(paths.CHECKPOINTS / cell / key(parts, inputs), params.train.checkpoint_minutes)


def progress(total: int, done: int, values: dict[str, float]) -> None:
    """Print a line that a person and the flow can read."""
    print(f"progress {done}/{total}", *(f"{name}={value:.4f}" for name, value in values.items()), flush=True)
