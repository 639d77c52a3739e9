"""DVC as the flow starts it, and as a user may: `python -m flows.dvc repro`.

DVC writes dvc.lock and its lock of paths in place, so that a kill leaves half of them, which it then refuses.
Here they are whole or not there.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bss.files import replaced
from flows.lifeline import end_with_parent


def main() -> int:
    """What `dvc` does with these arguments; its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that its locks are given back
    end_with_parent()
    write_whole_files()
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


@contextmanager
def _whole(path: Path, encoding: str) -> Iterator[IO[str]]:
    with replaced(path) as temporary, temporary.open("w+", encoding=encoding) as file:
        yield file


if __name__ == "__main__":
    sys.exit(main())
