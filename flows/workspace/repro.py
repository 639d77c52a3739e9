"""DVC as `bss run` starts it for a stage: `python -m flows.workspace.repro` with the arguments of `dvc`.

DVC writes dvc.lock and its lock of paths in place, so that a kill leaves half of them, which it then refuses; and it
trusts an object of its cache that a power cut has left empty. Here files are whole or not there.
"""

import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

from bss.files import replaced, sync, write_text
from flows.workspace.forkserver import fork
from flows.workspace.lifeline import end_with_parent

NUM_TRIES = 6
"""Parts into which DVC divides its time to wait for a lock."""
SECONDS_BETWEEN_TRIES = 0.02
ENTRY = r"(?:(?: {4}.*)?\n)*"
"""The lines below the name of a stage in dvc.lock."""
ANCHOR = re.compile(r"[&*]id\d")
"""A value that stands elsewhere, of any entry."""
LOCK = re.compile(rf"schema: '2\.0'\nstages:\n(?:  [^\s?:-].*:\n{ENTRY})*")


def main() -> int:
    """Do what `dvc` does with the arguments of this process; its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its locks are given back
    end_with_parent()
    write_whole_files()
    keep_whole_objects()
    write_one_entry()
    look_often_for_the_lock()
    fork_stages()
    from dvc.cli import main

    with parameters_read_once():
        return int(main(sys.argv[1:]))


def write_whole_files() -> None:
    """Have DVC write every text through a temporary file."""
    from dvc_objects.fs.local import FsspecLocalFileSystem as Disk

    written_in_place = Disk.open

    def opened(self: Any, path: str, mode: str = "r", encoding: str | None = None, **options: Any) -> Any:
        if mode.startswith("w") and encoding:
            return (_in_one_write if Path(path).name == "rwlock" else _whole)(Path(path), encoding)
        return written_in_place(self, path, mode, encoding, **options)  # type: ignore[no-untyped-call]

    Disk.open = opened  # type: ignore[method-assign]


def keep_whole_objects() -> None:
    """Have an object of the cache on the disk before DVC makes it read-only: it trusts what is read-only."""
    from dvc_data.hashfile.db.local import LocalHashFileDB as Cache

    made_read_only = Cache.protect

    def protect(self: Any, path: str) -> None:
        with suppress(FileNotFoundError):
            sync(Path(path))
        made_read_only(self, path)  # type: ignore[no-untyped-call]

    Cache.protect = protect  # type: ignore[method-assign]


def write_one_entry() -> None:
    """Have DVC write the entry of a stage into dvc.lock as it is; it reads and writes all others anew, in a second.

    A file that DVC has not written is left to it.
    """
    from dvc.dvcfile import Lockfile
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    written_anew = Lockfile.dump_stages

    def dump_stages(self: Any, stages: Any, **options: Any) -> None:
        path = Path(self.path)
        text = before = path.read_text(encoding="utf-8") if path.exists() else ""
        for stage in stages:
            entry = dumps_yaml({"stages": to_lockfile(stage, **options)}).removeprefix("stages:\n")
            name = re.escape(entry.partition("\n")[0])
            text, is_there = re.subn(f"^{name}\n{ENTRY}", entry.replace("\\", r"\\"), text, flags=re.MULTILINE)
            text += "" if is_there else entry
        if ANCHOR.search(text) or not all(map(LOCK.fullmatch, (before, text))):
            written_anew(self, stages, **options)
        elif text != before:
            write_text(text, path)
            self.repo.scm_context.track_file(self.relpath)

    Lockfile.dump_stages = dump_stages


def look_often_for_the_lock() -> None:
    """Have a stage that waits for another one's lock try every 20 ms; DVC itself tries twice a second."""
    from dvc import lock

    lock.DEFAULT_TIMEOUT = NUM_TRIES * SECONDS_BETWEEN_TRIES


def fork_stages() -> None:
    """Have a command `python -m tasks.NAME ...` forked by the server of stages, where there is one."""
    from dvc.stage import run
    from dvc.stage.exceptions import StageCmdFailedError

    run_by_shell = run._run

    def forked(executable: str, command: str, **options: Any) -> None:
        parts = re.fullmatch(r"python -m (tasks\.\w+)(.*)", command)
        stage = parts and fork(
            "stage", parts[1], shlex.split(parts[2]), Path(options["cwd"]), options["env"], [0, 1, 2]
        )
        if stage is None:
            run_by_shell(executable, command, **options)
        elif status := stage.wait():
            raise StageCmdFailedError(command, status)

    run._run = forked


@contextmanager
def parameters_read_once() -> Iterator[None]:
    """Have DVC parse params.yaml once; otherwise it does so several times for every stage."""
    from dvc.dependency import param

    read = param.load_path
    param.load_path = cache(read)
    try:
        yield
    finally:
        param.load_path = read


@contextmanager
def _whole(path: Path, encoding: str) -> Iterator[IO[str]]:
    with replaced(path) as temporary, temporary.open("w+", encoding=encoding) as file:
        yield file


@contextmanager
def _in_one_write(path: Path, encoding: str) -> Iterator[IO[str]]:
    """A short text that a kill leaves as it was or as it is to be; spaces fill what was longer before.

    It is written twenty times a stage, and a new file takes the place of another one in 10 ms.
    """
    content = io.StringIO()
    yield content
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(descriptor, content.getvalue().encode(encoding).ljust(os.fstat(descriptor).st_size), 0)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
