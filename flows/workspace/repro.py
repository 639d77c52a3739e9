"""DVC as `bss run` starts it for a stage: `python -m flows.workspace.repro` with the arguments of `dvc`.

DVC writes dvc.lock and its lock of paths in place, so that a kill leaves half of them, which it then refuses; and it
trusts an object of its cache that a power cut has left empty. Here files are whole or not there.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bss.files import replaced, sync
from flows.workspace.lifeline import end_with_parent

NUM_TRIES = 6
"""Parts into which DVC divides its time to wait for a lock."""
SECONDS_BETWEEN_TRIES = 0.02


def main() -> int:
    """Do what `dvc` does with the arguments of this process; its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its locks are given back
    end_with_parent()
    write_whole_files()
    keep_whole_objects()
    look_often_for_the_lock()
    from dvc.cli import main

    return int(main(sys.argv[1:]))


def write_whole_files() -> None:
    """Have DVC write every text through a temporary file."""
    from dvc_objects.fs.local import FsspecLocalFileSystem as Disk

    written_in_place = Disk.open

    def opened(self: Any, path: str, mode: str = "r", encoding: str | None = None, **options: Any) -> Any:
        if mode.startswith("w") and encoding:
            return _whole(Path(path), encoding)
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


def look_often_for_the_lock() -> None:
    """Have a stage that waits for another one's lock try every 20 ms; DVC itself tries twice a second."""
    from dvc import lock

    lock.DEFAULT_TIMEOUT = NUM_TRIES * SECONDS_BETWEEN_TRIES


@contextmanager
def _whole(path: Path, encoding: str) -> Iterator[IO[str]]:
    lasting = path.name != "rwlock"  # after a power cut nobody holds the paths
    with replaced(path, lasting=lasting) as temporary, temporary.open("w+", encoding=encoding) as file:
        yield file


if __name__ == "__main__":
    sys.exit(main())
