"""Look at data, parameters and code, and tell the server when stages are out of date: `bss watch`.

The event is `bss.workspace.changed`; in prefect.yaml it starts the deployment `retrain-on-change`. Files are compared
by time and size, and DVC is asked once they are still. Exit of --once: 0 all is up to date, 1 something is not, and
the event is sent. Else 1 no server, 2 wrong input, 3 a workspace in use, 130 interrupted.
"""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bss.errors import Busy, InputError
from bss.params import load
from bss.paths import HERE
from bss.wording import counted
from flows.commands.exits import command, prepare_prefect
from flows.graph.plan import plan
from flows.pages.events import CHANGED, choose_server, send
from flows.pages.server import check, has_server
from flows.workspace.lock import occupied, repository

NUM_PATHS = 100
"""So many changed paths are named in an event."""
Look = dict[str, tuple[int, int]]
"""Path -> time of its last change in nanoseconds, and size in bytes."""


def main(
    once: Annotated[bool, typer.Option(help="Look once, as CI does, and exit.")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="Between two looks at the files.")] = 5.0,
) -> None:
    """Tell Prefect when data, params.yaml or code have changed.

    Nothing is sent while a run is at work here.
    """
    command(lambda: run(once, seconds))


def run(once: bool, seconds: float) -> bool:
    """Look once; whether all is up to date. Or watch until Ctrl-C."""
    load(HERE.params)
    prepare_prefect(verbose=False)
    choose_server(has_server())
    if once:
        return not tell([], stale_stages())
    watch(seconds)
    return True


def watch(seconds: float) -> None:
    """Look again and again. The first event is about what was out of date before."""
    roots = sources()
    typer.echo(f"watching {counted(len(roots), 'path')}")
    seen, changed, waiting, away = look(roots), set[str](), True, False
    while True:
        time.sleep(seconds)
        now = look(roots)
        if fresh := different(seen, now):  # somebody may still be writing
            seen, changed, waiting = now, changed | fresh, True
        elif waiting:
            try:
                check()
                _expect_no_run()
                roots = sources()
                seen = look(roots)  # before DVC looks, so that a change meanwhile is seen next time
                load(HERE.params)
                tell(sorted(changed), stale_stages())
            except Busy:  # the run may be bringing it up to date
                continue
            except InputError as error:  # the next change may mend it
                typer.echo(str(error), err=True)
            except RuntimeError as error:  # the server may come back
                if not away:
                    typer.echo(str(error), err=True)
                away = True
                continue
            changed, waiting, away = set(), False, False


def sources() -> list[str]:
    """The files and folders that stages read and that no stage makes, relative to the workspace."""
    with repository() as repo:
        made = [Path(output.fs_path) for output in repo.index.outs]
        read = {Path(dependency.fs_path) for dependency in repo.index.deps}
    sources = {path for path in read if not any(path.is_relative_to(out) or out.is_relative_to(path) for out in made)}
    return ["dvc.yaml", *sorted(os.path.relpath(path) for path in sources)]


def look(roots: Iterable[str]) -> Look:
    """Every file of these files and folders, as far as it is there."""
    return {path: (status.st_mtime_ns, status.st_size) for path in _files(roots) if (status := _stat(path))}


def different(before: Look, now: Look) -> set[str]:
    """The paths that are new, gone or written anew."""
    return {path for path in before.keys() | now if before.get(path) != now.get(path)}


def stale_stages() -> list[str]:
    """The stages that a run would bring up to date.

    Raises:
        Busy: a run is at work in the workspace.
    """
    _expect_no_run()
    return [stage.name for stage in plan() if stage.stale]


def _expect_no_run() -> None:
    with occupied():
        pass


def tell(changed: Sequence[str], stages: Sequence[str]) -> bool:
    """Send the event if any stage is out of date; whether that is so."""
    if stages:
        send(CHANGED, {"changed": list(changed[:NUM_PATHS]), "stages": list(stages)})
        typer.echo(
            f"{CHANGED}: {', '.join(changed[:NUM_PATHS]) or 'the workspace'}; out of date: {', '.join(stages)}"
        )
    return bool(stages)


def _files(roots: Iterable[str]) -> Iterator[str]:
    for root in roots:
        if not Path(root).is_dir():
            yield root
        for folder, inner, names in os.walk(root):
            inner[:] = [name for name in inner if name != "__pycache__"]
            yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118 - there may be many


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - there may be many
    except FileNotFoundError:
        return None
