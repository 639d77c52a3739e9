"""The stages of the pipeline, one verb a file: parameters -> one library call -> named artifacts."""

import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bss.params import Params

# The library that lies beside the stages: in a second checkout, such as that of an experiment of DVC, the installed
# one is that of the first.
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

MethodName = Annotated[str, typer.Option("--method", help="A name under `methods` of params.yaml.")]
SchedulerName = Annotated[str, typer.Option("--scheduler", help="A name under `curriculum.schedulers`.")]
AcquisitionName = Annotated[str, typer.Option("--acquisition", help="A name under `active.acquisitions`.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the weights and of every draw.")]
"""They are options because DVC quotes the values of options for the shell, and nothing else that it fills in."""
SECONDS_TO_COPY = 0.2
"""How long the last lines of a stage take at most to its log and to the terminal."""
SECONDS_TO_END = 30.0
"""How long a stage whose run was killed is waited for; an overloaded machine took 16 to end one."""


def params() -> "Params":
    """The parameters of this workspace."""
    from bss.params import load
    from bss.paths import HERE

    return load(HERE.params)


def run(stage: Callable[..., None]) -> None:
    """Run a stage from the command line: its arguments are the options.

    All that it prints goes into logs/STAGE.log as well, and a failure names that file. Exits as of `bss.exits`.
    """
    from bss.exits import exits, needs
    from bss.paths import HERE

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that unfinished files are cleared away
    name = file_name(stage.__name__, sys.argv[1:])
    if not _is_first_rank():
        with exits(), needs(stage.__name__):
            typer.run(stage)
        return
    # The outer one: no room for the log.
    with exits(), logged(HERE.logs / f"{name}.log"), exits(), needs(stage.__name__), alone(name):
        typer.run(stage)


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Copy what this process and its children print into a file, whose path is the last line if the block fails."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    streams = {number: os.dup(number) for number in (1, 2)}
    # By another process, so that what was printed before a kill is in the file and on the terminal.
    copies = {
        number: subprocess.Popen(["tee", "-a", path], stdin=subprocess.PIPE, stdout=stream, start_new_session=True)
        for number, stream in streams.items()
    }
    for number, copy in copies.items():
        os.dup2(copy.stdin.fileno(), number)  # type: ignore[union-attr]
    try:
        yield
    except SystemExit as end:
        if end.code:
            print(f"log: {path}", file=sys.stderr)
        raise
    except BaseException:
        if sys.gettrace() is not None:  # a debugger wants to stand where it failed
            raise
        traceback.print_exc()
        print(f"log: {path}", file=sys.stderr)
        sys.exit(1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in copies.items():
            os.dup2(streams[number], number)
            copy.stdin.close()  # type: ignore[union-attr]
            # A helper of multiprocessing holds the line as long as this process lives; then the copy ends with it.
            with suppress(subprocess.TimeoutExpired):
                copy.wait(SECONDS_TO_COPY)


@contextmanager
def alone(stage: str) -> Iterator[None]:
    """Hold a stage of the current workspace: one process works on it at a time, whoever started it.

    Raises:
        Busy: another process works on it, and goes on.
    """
    from bss.locks import held
    from bss.paths import HERE

    if not HERE.temporary.parent.is_dir():
        yield
        return
    busy = "process {pid} is at work on this stage; wait for it or stop it"
    with held(HERE.temporary / "stages" / stage, busy, SECONDS_TO_END):
        yield


def file_name(stage: str, arguments: Sequence[str]) -> str:
    """The name of a cell, `train-joint-random-0`, as a file may have it."""
    return re.sub(r"[^\w.-]", "_", "-".join([stage, *arguments[1::2]]))


def _is_first_rank() -> bool:
    """Whether this process was started for the stage, not by it or `torchrun` to share in the training."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def progress(total: int, done: int, values: dict[str, float]) -> None:
    """Print a line that a person and the flow can read."""
    print(f"progress {done}/{total}", *(f"{name}={value:.4f}" for name, value in values.items()), flush=True)
