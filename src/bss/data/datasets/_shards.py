"""WebDataset shards as tables: `.tar` files in which the files of a sample share their name up to the first dot."""

import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Set
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from bss.errors import InputError, MissingInput, first_line

if TYPE_CHECKING:
    import polars as pl

TEXTS = {"cls", "txt", "text", "transcript"}
"""Extensions of what is read as text; every other one but JSON stays `{bytes, path}`."""
WILD = re.compile(r"[*?{\[]")
SUFFIXES = (".tar", ".tar.gz", ".tgz")
SPANS = re.compile(r"\{([^{}]*)\}")
END = bytes(tarfile.BLOCKSIZE)
"""What comes behind the last member of a whole archive, twice."""


def is_shards(path: Path) -> bool:
    """Whether a name is that of shards: `train-000.tar`, `train-{000..003}.tar`, `train-*.tar`."""
    return path.name.lower().endswith(SUFFIXES)


def above(path: Path) -> Path:
    """The folder of a file; of a pattern of shards the folder above its first wildcard."""
    if path.exists() or not is_shards(path):
        return path.parent
    return next(folder for folder in path.parents if not WILD.search(str(folder)))


def shards(pattern: Path) -> list[Path]:
    """The files that a name or pattern stands for, in the order of the pattern and then of their names.

    Raises:
        MissingInput: one is missing.
        InputError: a range of the pattern runs backwards.
    """
    if pattern.is_file():  # whatever characters its name has
        return [pattern]
    found = []
    for name in _expanded(str(pattern)):
        folder = above(Path(name))
        files = sorted(folder.glob(str(Path(name).relative_to(folder)))) if WILD.search(name) else [Path(name)]
        if not files or not files[0].is_file():
            raise MissingInput(
                f"{name}: no such file" if name == str(pattern) else f"{name} of {pattern}: no such file"
            )
        found += files
    return found


def read_shards(pattern: Path, split_names: Set[str] = frozenset()) -> "pl.DataFrame":
    """The samples of shards, a row each; a member that a sample lacks is null.

    `id` is `SHARD/KEY`, `cls` is `label`, the keys of `json` are columns (`json.KEY` where that name is taken), and
    every other extension is the column of its members: text, or `{bytes, path}`.

    Args:
        pattern: the shards.
        split_names: where the names of the shards begin with several of these, they are the column `split`.

    Raises:
        MissingInput: a shard is missing.
        InputError: a shard is damaged, ends early or holds no sample; the message has the shard, and the key where
            there is one.
    """
    import polars as pl

    rows = list[dict[str, Any]]()
    files = shards(pattern)
    splits = {file: re.split(r"[^a-z]", file.name.lower())[0] for file in files}
    is_split = set(splits.values()) <= split_names and len(set(splits.values())) > 1
    for file in files:
        own = list(_samples(file))
        if not own:
            raise InputError(f"{file} holds no sample")
        rows += [{**row, "split": splits[file], **row} for row in own] if is_split else own
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame([pl.Series(name, [row.get(name) for row in rows], strict=False) for name in names])


def _expanded(pattern: str) -> list[str]:
    """`x-{00..02}` and `{a,b}` as the names that they stand for."""
    fixed = SPANS.split(pattern)
    choices = [_choices(part, pattern) if place % 2 else [part] for place, part in enumerate(fixed)]
    return ["".join(parts) for parts in product(*choices)]


def _choices(span: str, pattern: str) -> list[str]:
    if ends := re.fullmatch(r"(\d+)\.\.(\d+)", span):
        first, last = ends.groups()
        if int(first) > int(last):
            raise InputError(
                f"{pattern}: the range {{{span}}} runs backwards; {{{last}..{first}}} is one from low to high"
            )
        width = len(first) if first.startswith("0") else 0
        return [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
    return span.split(",")


def _samples(shard: Path) -> Iterator[dict[str, Any]]:
    """The samples of a shard in their order; the members of one follow each other."""
    key, row = "", dict[str, Any]()
    try:
        with tarfile.open(shard) as members:
            for member in members:
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")
                if not member.isfile() or not stem or not extension:
                    continue
                own = f"{folder}/{stem}" if folder else stem
                if own != key and row:
                    yield _row(shard, key, row)
                    row = {}
                key = own
                if extension.lower() in row:
                    raise InputError(f"{shard}, sample '{key}': two members end in .{extension.lower()}")
                if (file := members.extractfile(member)) is not None:
                    row[extension.lower()] = {"bytes": file.read(), "path": f"{shard.name}/{member.name}"}
            _check_end(members)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{shard}: {error.strerror}") from error
        after = f" after sample '{key}'" if key else ""
        reason = first_line(error).removesuffix(":")
        raise InputError(f"{shard} is damaged or ends early{after}: {reason}; fetch it again") from error
    if row:
        yield _row(shard, key, row)


def _check_end(members: tarfile.TarFile) -> None:
    """Demand the end of an archive where the members end: tarfile takes whatever is no member for that.

    Raises:
        tarfile.ReadError: something else is there, or nothing.
    """
    file = cast("IO[bytes]", members.fileobj)
    file.seek(members.offset)
    found = file.read(len(END))
    if len(found) < len(END):
        raise tarfile.ReadError("it lacks the end of an archive, so the download is incomplete")
    if found != END:
        raise tarfile.ReadError(f"no member begins at byte {members.offset:,}")


def _row(shard: Path, key: str, members: dict[str, dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": f"{shard.name.partition('.')[0]}/{key}"}
    further = dict[str, Any]()
    for extension, content in members.items():
        try:
            if extension == "json":
                value = json.loads(content["bytes"])
                further = value if isinstance(value, dict) else {"json": value}
            elif extension in TEXTS:
                row["label" if extension == "cls" else extension] = content["bytes"].decode("utf-8-sig").strip()
            else:
                row[extension] = content
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise InputError(f"{shard}, sample '{key}': its .{extension} cannot be read: {error}") from error
    return row | {f"json.{name}" if name in row else name: value for name, value in further.items()}
