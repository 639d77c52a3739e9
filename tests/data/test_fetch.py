"""Raw files come whole and checked, or not at all."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from bss.data.datasets._fetch import Source, obtain, raw_folder, verify

CONTENT = b"one, two, three" * 10_000


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; what lies under `torn` breaks off half way."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[: len(content) // 2] if "torn" in self.path else content)


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    folder = tmp_path / "upstream"
    for name in ("whole", "torn"):
        (folder / name).mkdir(parents=True)
        (folder / name / "digits.gz").write_bytes(CONTENT)
    return folder


@pytest.fixture
def address(upstream: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(upstream)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def digits(address: str, content: bytes = CONTENT) -> Source:
    return Source(f"{address}/digits.gz", "digits.gz", hashlib.sha256(content).hexdigest())


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_fetched_once(address: str, upstream: Path, tmp_path: Path) -> None:
    source, folder = digits(f"{address}/whole"), tmp_path / "raw"
    assert obtain((source,), folder) == folder
    assert files(folder) == [folder / "digits.gz"]
    assert (folder / "digits.gz").read_bytes() == CONTENT
    (upstream / "whole" / "digits.gz").unlink()
    obtain((source,), folder)


def test_a_file_that_is_not_the_published_one_is_not_kept(address: str, tmp_path: Path) -> None:
    source = digits(f"{address}/whole", b"published")
    with pytest.raises(ValueError, match=rf"digits\.gz of sha256 .*, not {source.sha256}"):
        obtain((source,), tmp_path / "raw")
    assert files(tmp_path / "raw") == []


def test_a_download_that_breaks_off_is_not_kept(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"digits\.gz could not be fetched .* broke off after 75000 of 150000"
    ):
        obtain((digits(f"{address}/torn"),), tmp_path / "raw")
    assert files(tmp_path / "raw") == []


def test_a_file_that_nobody_has_is_named_with_its_address(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=rf"digits\.gz could not be fetched from {address}/gone/.*404.*BSS_DATA"
    ):
        obtain((digits(f"{address}/gone"),), tmp_path / "raw")


def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"could not be fetched from http://127\.0\.0\.1:1/") as refused:
        obtain((digits("http://127.0.0.1:1"),), tmp_path / "raw")
    assert f"put it at {tmp_path / 'raw/digits.gz'}, or set BSS_DATA" in str(refused.value)


def test_a_file_changed_on_disk_is_named_with_both_checksums(address: str, tmp_path: Path) -> None:
    source = digits(f"{address}/whole")
    obtain((source,), tmp_path)
    (tmp_path / "digits.gz").write_bytes(b"other")
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(
        ValueError, match=rf"digits\.gz is not as published: .* has sha256 {other}, published is {source.sha256}"
    ):
        obtain((source,), tmp_path)


def archive(upstream: Path, address: str) -> Source:
    """Two wanted members, one beside them, and one that tries to leave the folder."""
    with zipfile.ZipFile(upstream / "a.zip", "w") as content:
        for name in (
            "set-1/recordings/b.wav",
            "set-1/README.md",
            "../../recordings/evil.wav",
            "set-1/recordings/a.wav",
        ):
            content.writestr(name, name)
    members = [
        ("a.wav", "set-1/recordings/a.wav"),
        ("b.wav", "set-1/recordings/b.wav"),
        ("evil.wav", "../../recordings/evil.wav"),
    ]
    lines = "".join(f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in members)
    return Source(f"{address}/a.zip", "recordings", hashlib.sha256(lines.encode()).hexdigest(), "*/recordings/*.wav")


def test_members_of_an_archive_stay_in_their_folder(address: str, upstream: Path, tmp_path: Path) -> None:
    source, folder = archive(upstream, address), tmp_path / "deep" / "er" / "raw"
    obtain((source,), folder)
    assert sorted(path.name for path in folder.iterdir()) == ["recordings"]
    assert sorted(path.name for path in (folder / "recordings").iterdir()) == ["a.wav", "b.wav", "evil.wav"]
    assert not list((tmp_path / "deep").glob("**/evil.wav"))[1:]


def test_a_changed_member_is_noticed_and_a_stray_file_is_not(address: str, upstream: Path, tmp_path: Path) -> None:
    source = archive(upstream, address)
    obtain((source,), tmp_path)
    (tmp_path / "recordings" / ".gitignore").write_text("*")
    verify(source, tmp_path)
    (tmp_path / "recordings" / "b.wav").write_text("other")
    with pytest.raises(ValueError, match="recordings has sha256"):
        verify(source, tmp_path)


@pytest.mark.parametrize("change", ["changed", "missing", "added"])
def test_the_file_that_differs_is_named(address: str, upstream: Path, tmp_path: Path, change: str) -> None:
    source = archive(upstream, address)
    obtain((source,), tmp_path)
    files = sorted((tmp_path / "recordings").iterdir())
    listing = tmp_path / "listing"
    listing.write_text("".join(f"{crc32(file.read_bytes()):08x}  {file.name}\n" for file in files))
    culprit = tmp_path / "recordings" / ("c.wav" if change == "added" else "b.wav")
    culprit.unlink() if change == "missing" else culprit.write_text("other")
    with pytest.raises(ValueError, match=rf"{culprit} is {'missing' if change == 'missing' else 'not as published'}"):
        verify(replace(source, listing=listing), tmp_path)


def test_a_damaged_archive_is_named(address: str, upstream: Path, tmp_path: Path) -> None:
    source = archive(upstream, address)
    (upstream / "a.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="the archive of recordings is damaged"):
        obtain((source,), tmp_path / "raw")
    assert files(tmp_path / "raw") == []


def test_raw_files_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("BSS_DATA", raising=False)
    assert raw_folder("set") == Path("data/raw/set")
    (tmp_path / "shared/data/set").mkdir(parents=True)
    assert raw_folder("set") == Path("../shared/data/set")
    (tmp_path / "mine/set").mkdir(parents=True)
    monkeypatch.setenv("BSS_DATA", str(tmp_path / "mine"))
    assert raw_folder("set") == tmp_path / "mine/set"


def test_a_folder_without_a_checksum_is_known_by_its_names(address: str, upstream: Path, tmp_path: Path) -> None:
    source = replace(archive(upstream, address), sha256=None, names=("a.wav", "b.wav"))
    obtain((source,), tmp_path / "raw")
    (tmp_path / "raw/recordings/a.wav").write_text("thinned out")
    verify(source, tmp_path / "raw")
    (tmp_path / "raw/recordings/b.wav").unlink()
    with pytest.raises(ValueError, match=r"recordings/b\.wav is missing: 1 of 2 files are not there; put them"):
        obtain((source,), tmp_path / "raw")
    with pytest.raises(ValueError, match=r"/a\.zip lacks 1 of 3 files: c\.wav"):
        obtain((replace(source, names=("a.wav", "b.wav", "c.wav")),), tmp_path / "other")
    assert files(tmp_path / "other") == []


def test_an_archive_of_another_checksum_is_not_unpacked(address: str, upstream: Path, tmp_path: Path) -> None:
    source = archive(upstream, address)
    sha256 = hashlib.sha256((upstream / "a.zip").read_bytes()).hexdigest()
    obtain((replace(source, archive=sha256),), tmp_path / "raw")
    (upstream / "a.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=rf"a\.zip gave an archive of sha256 .*, not {sha256}"):
        obtain((replace(source, archive=sha256),), tmp_path / "other")
    assert files(tmp_path / "other") == []
