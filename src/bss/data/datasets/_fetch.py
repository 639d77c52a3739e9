"""Raw files from where their publisher keeps them, checked against a checksum before anything reads them."""

import hashlib
import os
import shutil
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO
from zlib import crc32

from bss.errors import InputError, MissingInput
from bss.files import TEMPORARY, checksum, owner
from bss.progress import progress

BLOCK = 1 << 16
VARIABLE, SHARED = "BSS_DATA", Path("../shared/data")


@dataclass(frozen=True)
class Source:
    """One raw file, or with `members` the folder of those files of one zip archive.

    Archives are packed anew by their hosts from time to time, so what is checked is what was in them.
    """

    address: str
    path: str
    """Relative to the data set's folder."""
    sha256: str | None
    """SHA-256 of the file; of a folder, that of the lines "sha256  name" which `sha256sum *` prints in it. None where
    no copy as published was at hand to take it from: then a folder is only asked for its `names`."""
    members: str | None = None
    """Pattern of the archive's members, for example `*/recordings/*.wav`; their base names end in `path`."""
    listing: Path | None = None
    """File of lines "crc32  name" for a folder: too weak to trust, enough to say which of many files differs."""
    names: tuple[str, ...] = ()
    """Files that a folder has to hold, so that one that is missing can be named."""
    archive: str | None = None
    """SHA-256 of the archive itself, where it is known; what is fetched is compared before it is unpacked."""


def raw_folder(name: str) -> Path:
    """The folder of the raw files of a data set: below $BSS_DATA, ../shared/data, or else data/raw."""
    places = [Path(place) / name for place in (os.environ.get(VARIABLE), SHARED) if place]
    return next((place for place in places if place.is_dir()), Path("data/raw") / name)


def obtain(sources: tuple[Source, ...], folder: Path) -> Path:
    """`folder`, with every source in it as published; what is missing altogether is fetched.

    Raises:
        MissingInput: a file cannot be fetched; the message names it and its address.
        InputError: a file is not the published one.
    """
    for source in sources:
        if not (folder / source.path).exists():
            fetch(source, folder)
        verify(source, folder)
    return folder


def fetch(source: Source, folder: Path) -> None:
    """Download `source` into `folder`, whole and checked, or not at all.

    Raises:
        MissingInput: the address does not answer, or breaks off.
        InputError: what came is not the published file.
    """
    target = folder / source.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY}fetch-", suffix=owner(), dir=folder))
    except OSError as error:
        raise MissingInput(f"{target} is missing and cannot be written ({error}): set BSS_DATA") from error
    try:
        part = draft / source.path
        _download(source, part, target)
        if source.archive and (sha256 := checksum(part)) != source.archive:
            raise InputError(f"{source.address} gave an archive of sha256 {sha256}, not {source.archive}")
        if source.members:
            _extract(part.rename(draft / "archive"), source.members, part)
        if missing := _missing(source, part):
            raise InputError(f"{source.address} lacks {len(missing)} of {len(source.names)} files: {missing[0]} ...")
        if source.sha256 and (sha256 := source_checksum(source, part)) != source.sha256:
            raise InputError(f"{source.address} gave {source.path} of sha256 {sha256}, not {source.sha256}")
        part.replace(target)
    finally:
        shutil.rmtree(draft)


def verify(source: Source, folder: Path) -> None:
    """Compare `source` in `folder` with what was published.

    Raises:
        MissingInput: it is missing.
        InputError: its checksum differs, or a file of a folder is missing; the message names it.
    """
    path = folder / source.path
    if missing := _missing(source, path):
        raise InputError(
            f"{path / missing[0]} is missing: {len(missing)} of {len(source.names)} files are not there; put them "
            f"right, or remove {path} to have it fetched again"
        )
    if source.sha256 and (sha256 := source_checksum(source, path)) != source.sha256:
        culprit = _first_difference(source, path)
        state = "is not as published" if culprit.exists() else "is missing"
        raise InputError(
            f"{culprit} {state}: {path} has sha256 {sha256}, published is {source.sha256}; "
            f"put {culprit.name} right, or remove {path} to have it fetched again"
        )


def _first_difference(source: Source, path: Path) -> Path:
    """The first file of a listed folder that is missing, added or changed; else the path itself."""
    if source.listing is None:
        return path
    published = {name: crc for crc, name in map(str.split, source.listing.read_text(encoding="utf-8").splitlines())}
    present = {file.name: f"{crc32(file.read_bytes()):08x}" for file in _members(source, path)}
    differing = {name for name, _ in published.items() ^ present.items()}
    return path / min(differing) if differing else path


def _missing(source: Source, folder: Path) -> list[str]:
    """The named files that are not in the folder, in their order."""
    there = {file.name for file in _members(source, folder)} if source.names else set()
    return [name for name in source.names if name not in there]


def source_checksum(source: Source, path: Path) -> str:
    """The SHA-256 of the file or folder at `path`, as `source` declares it."""
    if source.members is None:
        return checksum(path)
    lines = "".join(f"{checksum(file)}  {file.name}\n" for file in _members(source, path))
    return hashlib.sha256(lines.encode()).hexdigest()


def _members(source: Source, folder: Path) -> list[Path]:
    return sorted(folder.glob(PurePosixPath(source.members or "*").name))


def _download(source: Source, path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with urllib.request.urlopen(source.address, timeout=60) as answer:  # noqa: S310 - declared, and checked
            length = answer.headers.get("Content-Length")
            _copy(answer, path, int(length) if length else None)
    except (OSError, HTTPException) as error:
        raise MissingInput(
            f"{source.path} could not be fetched from {source.address}: {error}. Fetch it in another way and put "
            f"{f'the files {source.members} of the archive' if source.members else 'it'} at {target.absolute()}, "
            "or set BSS_DATA to the folder that holds the data sets"
        ) from error


def _copy(answer: IO[bytes], path: Path, length: int | None) -> None:
    with progress(length, f"fetch {path.name}", "bytes") as advance, path.open("wb") as file:
        while block := answer.read(BLOCK):
            file.write(block)
            advance(len(block))
        if length not in (None, file.tell()):
            raise OSError(f"broke off after {file.tell()} of {length} bytes")


def _extract(archive: Path, members: str, folder: Path) -> None:
    """Only base names are used: a member cannot leave `folder`, whatever its path says."""
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as content:
            for member in content.namelist():
                if PurePosixPath(member).match(members):
                    with (
                        content.open(member) as packed,
                        (folder / PurePosixPath(member).name).open("wb") as file,
                    ):
                        shutil.copyfileobj(packed, file)
    except zipfile.BadZipFile as error:
        raise InputError(f"the archive of {folder.name} is damaged: {error}") from error
