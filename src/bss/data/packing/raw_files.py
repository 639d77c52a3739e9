"""What the path of a row leads to: a file, or a folder of files, such as the frames of a video."""

from pathlib import Path
from stat import S_ISDIR, S_ISREG

from bss.data.kinds._picture import pictures_in
from bss.files import checksum


def files(path: Path) -> list[Path]:
    """The file itself; of a folder its frames in their order, or where it has none, all files in it.

    Raises:
        OSError: a folder cannot be opened.
    """
    if not path.is_dir():
        return [path]
    return [file for file in pictures_in(path) or sorted(path.iterdir()) if not file.is_dir()]


def fault(path: Path, *, may_be_empty: bool = False) -> str | None:
    """Why a path cannot be used, without opening a file; None where nothing is wrong.

    A link may lead anywhere. Whether a folder has enough files, and what is in them, is for its kind to say.
    """
    try:
        status = path.stat()
        if S_ISDIR(status.st_mode):
            inside = ((file.name, fault(file, may_be_empty=True)) for file in files(path))
            return next((f"{name} in it: {what}" for name, what in inside if what), None)
    except (OSError, ValueError) as error:  # a loop of links, a folder that is not ours, a name that is too long
        words = {FileNotFoundError: "no such file", ValueError: "a name with a zero byte in it is no file's"}
        return words.get(type(error)) or str(getattr(error, "strerror", error)).lower()
    if not S_ISREG(status.st_mode):
        return "is no regular file"
    return "the file is empty" if status.st_size == 0 and not may_be_empty else None


def sizes(path: Path) -> tuple[int, ...]:
    """The bytes of each of its files; none for an empty folder."""
    return tuple(file.stat().st_size for file in files(path))


def checksums(path: Path) -> tuple[str, ...]:
    """The SHA-256 of each of its files: copies have the same, whatever they are called."""
    return tuple(map(checksum, files(path)))
