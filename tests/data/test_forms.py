"""Tables in the forms of others: data sets of Hugging Face, shards of WebDataset, arrays of NumPy.

Whatever the form, the packed arrays are those of the same files listed in a CSV.
"""

import csv
import gzip
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.data.datasets._shards import shards
from bss.data.datasets._table import read_table
from bss.data.datasets.manifest import Manifest
from bss.data.packed import Meta, open_split
from bss.data.packing.pack import examine, pack
from bss.data.packing.unpacked import Rows
from bss.errors import InputError
from tests.helpers import ROOT

EXAMPLE = ROOT / "data/example"
KINDS = {
    "audio": {
        "name": "audio", "sample_rate": 8000, "seconds": 0.64, "n_fft": 128, "hop_length": 128, "length": "pad",
    },
    "image": {"name": "image", "size": 8, "channels": 1},
}  # fmt: skip
SPLITS = ("train", "validation", "test")


def listed() -> list[dict[str, str]]:
    """The ten pairs of the example."""
    with (EXAMPLE / "pairs.csv").open() as file:
        return list(csv.DictReader(file))


def content(pair: Mapping[str, str], modality: str) -> bytes:
    return (EXAMPLE / pair[modality]).read_bytes()


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as shard:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


def members(pair: Mapping[str, str]) -> dict[str, bytes]:
    return {
        f"{pair['id']}.wav": content(pair, "audio"),
        f"{pair['id']}.png": content(pair, "image"),
        f"{pair['id']}.cls": pair["label"].encode(),
        f"{pair['id']}.json": json.dumps({"who": f"voice {pair['id']}", "id": 7}).encode(),
    }


def as_shards(folder: Path) -> dict[str, Any]:
    """A shard a split, called after it."""
    for split in SPLITS:
        pairs = [pair for pair in listed() if pair["split"] == split]
        write_tar(folder / f"{split}-000.tar", {name: data for pair in pairs for name, data in members(pair).items()})
    return {"file": str(folder / "{train,validation,test}-*.tar"), "columns": {"audio": "wav", "image": "png"}}


def as_saved(folder: Path) -> dict[str, Any]:
    """A `DatasetDict` of `save_to_disk`, with classes by number."""
    datasets = pytest.importorskip("datasets")
    parts = {}
    for split in SPLITS:
        pairs = [pair for pair in listed() if pair["split"] == split]
        cells = {
            name: [{"bytes": content(pair, name), "path": pair[name]} for pair in pairs]
            for name in ("audio", "image")
        }
        part = datasets.Dataset.from_dict({**cells, "label": [pair["label"] for pair in pairs]})
        part = part.cast_column("image", datasets.Image()).cast_column("audio", datasets.Audio())
        parts[split] = part.cast_column("label", datasets.ClassLabel(names=["3", "8"]))
    datasets.DatasetDict(parts).save_to_disk(str(folder / "saved"))
    return {"file": str(folder / "saved")}


def as_hub(folder: Path) -> dict[str, Any]:
    """What `load_dataset` reads by its name: here a folder of Parquet files, as most of the hub are."""
    pytest.importorskip("datasets")
    (folder / "owner").mkdir()
    for split in SPLITS:
        pairs = [pair for pair in listed() if pair["split"] == split]
        table = pl.DataFrame([{**pair, **{name: {"bytes": content(pair, name)} for name in KINDS}} for pair in pairs])
        table.drop("split").write_parquet(folder / "owner" / f"{split}.parquet")
    return {"hub": str(folder / "owner")}


FORMS: dict[str, Callable[[Path], dict[str, Any]]] = {"shards": as_shards, "saved": as_saved, "hub": as_hub}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example packed from its files."""
    folder = tmp_path_factory.mktemp("expected")
    pack(Manifest.model_validate({"file": str(EXAMPLE / "pairs.csv"), "kinds": KINDS}), folder)
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_the_packed_arrays_are_those_of_the_files(
    form: str, expected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    dataset = Manifest.model_validate({"kinds": KINDS, **FORMS[form](tmp_path)})
    assert examine(dataset, tmp_path / "packed").findings == []
    pack(dataset, tmp_path / "packed")
    for split in SPLITS:
        ours, theirs = open_split(tmp_path / "packed", split), open_split(expected, split)
        for name in KINDS:
            assert np.array_equal(ours.arrays[name], theirs.arrays[name]), (split, name)
        manifests = [
            pl.read_parquet(folder / split / "manifest.parquet") for folder in (tmp_path / "packed", expected)
        ]
        assert manifests[0]["class"].equals(manifests[1]["class"])


def test_a_sample_of_a_shard_is_a_row(tmp_path: Path) -> None:
    as_shards(tmp_path)
    table = read_table(tmp_path / "train-000.tar")
    assert table.columns == ["id", "wav", "png", "label", "who", "json.id"]
    assert table["id"][0] == "train-000/3_144"
    assert table["who"][0] == "voice 3_144"
    assert table["png"][0]["path"] == "train-000.tar/3_144.png"
    assert "split" in read_table(tmp_path / "{train,test}-000.tar", splits={"train", "test"}).columns


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{0..2}.tar", ["a-0", "a-1", "a-2"]),
        ("a-{00..01}.tar", ["a-00", "a-01"]),
        ("{b,a}-{0..1}.tar", ["b-0", "b-1", "a-0", "a-1"]),
        ("a-*.tar", ["a-0", "a-00", "a-01", "a-1", "a-2"]),
    ],
)
def test_a_pattern_stands_for_shards_in_its_order(pattern: str, names: list[str], tmp_path: Path) -> None:
    for name in ("a-0", "a-00", "a-01", "a-1", "a-2", "b-0", "b-1"):
        (tmp_path / f"{name}.tar").touch()
    assert [path.stem for path in shards(tmp_path / pattern)] == names


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a-{1..0}.tar", r"a-\{1\.\.0\}\.tar: the range \{1\.\.0\} runs backwards; \{0\.\.1\} is one"),
        ("{a,b}-{010..002}.tar", r"the range \{010\.\.002\} runs backwards; \{002\.\.010\} is one"),
    ],
)
def test_a_range_that_runs_backwards_is_refused(pattern: str, message: str, tmp_path: Path) -> None:
    dataset = Manifest.model_validate({"file": str(tmp_path / pattern), "kinds": KINDS})
    with pytest.raises(InputError, match=message):
        dataset.locate()


BLOCK = tarfile.BLOCKSIZE


def three_samples(folder: Path) -> bytes:
    """Blocks: header, text and padding of `a`; the same of `b`; header of `c`; the end of the archive."""
    return write_tar(folder / "whole.tar", {f"{name}.cls": b"x" * 600 for name in "ab"} | {"c.cls": b""}).read_bytes()


@pytest.mark.parametrize("packed", [False, True], ids=[".tar", ".tar.gz"])
@pytest.mark.parametrize(
    ("num_bytes", "reason"),
    [
        (3 * BLOCK, "it lacks the end of an archive, so the download is incomplete"),  # between two members
        (3 * BLOCK + 100, "it lacks the end of an archive, so the download is incomplete"),  # in a header
        (6 * BLOCK - 100, "unexpected end of data"),  # in the padding of a member
        (7 * BLOCK, "it lacks the end of an archive, so the download is incomplete"),  # behind the last member
        (7 * BLOCK + 511, "it lacks the end of an archive, so the download is incomplete"),
    ],
)
def test_a_shard_without_the_end_of_an_archive_is_no_whole_one(
    num_bytes: int, reason: str, packed: bool, tmp_path: Path
) -> None:
    content = three_samples(tmp_path)[:num_bytes]
    path = tmp_path / ("t.tar.gz" if packed else "t.tar")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError, match=rf"t\.tar.* ends early after sample '[abc]': {reason}; fetch it again"):
        read_table(path)


def test_a_member_with_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    content = bytearray(three_samples(tmp_path))
    content[3 * BLOCK + 150] ^= 0xFF  # a digit of the checksum
    (tmp_path / "t.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged .* after sample 'a': no member begins at byte 1,536"):
        read_table(tmp_path / "t.tar")


@pytest.mark.parametrize("num_bytes", [8 * BLOCK, 9 * BLOCK])
def test_one_block_of_zeros_is_an_end(num_bytes: int, tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(three_samples(tmp_path)[:num_bytes])
    assert read_table(tmp_path / "t.tar")["id"].to_list() == ["t/a", "t/b", "t/c"]


PAIR = {"id": "3_144", "label": "3", "audio": "3_144.wav", "image": "3_144.png"}


def halved(folder: Path) -> str:
    path = write_tar(folder / "t-0.tar", members(PAIR) | {"next.wav": bytes(9000)})
    path.write_bytes(path.read_bytes()[:-12_000])
    return str(path)


def no_tar(folder: Path) -> str:
    (folder / "t-0.tar").write_bytes(b"<html>" * 200)
    return str(folder / "t-0.tar")


def missing_shard(folder: Path) -> str:
    write_tar(folder / "t-0.tar", members(PAIR))
    return str(folder / "t-{0..1}.tar")


def wrong_json(folder: Path) -> str:
    return str(write_tar(folder / "t-0.tar", members(PAIR) | {"3_144.json": b"{"}))


def empty_shard(folder: Path) -> str:
    return str(write_tar(folder / "t-0.tar", {}))


def unequal(folder: Path) -> str:
    np.savez(folder / "t.npz", label=np.zeros(4), audio=np.zeros((3, 2)))
    return str(folder / "t.npz")


def single(folder: Path) -> str:
    np.savez(folder / "t.npz", label=np.zeros(4), rate=8000)
    return str(folder / "t.npz")


def objects(folder: Path) -> str:
    np.savez(folder / "t.npz", label=np.array([{}, None]))
    return str(folder / "t.npz")


def half_npz(folder: Path) -> str:
    path = Path(unequal(folder))
    path.write_bytes(path.read_bytes()[:300])
    return str(path)


def damaged_saved(folder: Path) -> str:
    path = Path(as_saved(folder)["file"])
    (path / "train/state.json").write_text("{")
    return str(path)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (halved, r"t-0\.tar is damaged or ends early after sample 'next'"),
        (no_tar, r"t-0\.tar is damaged or ends early: .*fetch it again"),
        (missing_shard, r"t-1\.tar of .*t-\{0\.\.1\}\.tar: no such file"),
        (wrong_json, r"t-0\.tar, sample '3_144': its \.json cannot be read"),
        (empty_shard, r"t-0\.tar holds no sample"),
        (unequal, r"its arrays have different lengths: label 4, audio 3"),
        (single, "'rate' is a single value, and a column is needed"),
        (objects, "t.npz cannot be read: Object arrays"),
        (half_npz, "t.npz cannot be read"),
        (damaged_saved, "saved cannot be read as a data set"),
    ],
)
def test_what_is_damaged_is_named(made: Callable[[Path], str], message: str, tmp_path: Path) -> None:
    dataset = Manifest.model_validate({"file": made(tmp_path), "kinds": KINDS})
    with pytest.raises(InputError, match=message):
        dataset.items(dataset.locate())


def test_a_member_that_is_missing_or_damaged_is_a_finding_with_shard_and_key(tmp_path: Path) -> None:
    given = as_shards(tmp_path)
    pairs = [pair for pair in listed() if pair["split"] == "train"]
    several = {name: data for pair in pairs for name, data in members(pair).items()}
    del several["3_153.png"]
    several["3_163.wav"] = several["3_163.wav"][:2000]
    several["8_144.png"] = b"no picture"
    write_tar(tmp_path / "train-000.tar", several)
    findings, _ = examine(Manifest.model_validate({"kinds": KINDS, **given}), tmp_path / "packed")
    assert [str(finding).partition("; ")[0] for finding in findings] == [
        "row 2 (train-000/3_153), image: no value",
        "row 3 (train-000/3_163), audio: the content of the cell ends early: 2,000 of 13,216 bytes",
        "row 4 (train-000/8_144), image: the content of the cell is no readable image: cannot identify image file "
        "the content of the cell",
    ]


def test_the_same_content_in_two_splits_is_found_in_cells_too(tmp_path: Path) -> None:
    given = as_shards(tmp_path)
    pair = next(pair for pair in listed() if pair["split"] == "test" and pair["label"] == "3")
    others = {
        name: data for pair in listed() if pair["split"] == "validation" for name, data in members(pair).items()
    }
    other = {name.replace(pair["id"], "again"): data for name, data in members(pair).items()}
    write_tar(tmp_path / "validation-000.tar", others | other)
    findings, _ = examine(Manifest.model_validate({"kinds": KINDS, **given}), tmp_path / "packed")
    assert any("same content as row" in finding.what and finding.source == "image" for finding in findings)


def test_the_arrays_of_a_file_are_its_columns(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    votes = draw.normal(size=(40, 5)).astype(np.float16)
    steps = draw.normal(size=(40, 7, 2))
    names = np.array([b"no", b"yes"] * 20)
    np.savez(tmp_path / "t.npz", label=names, face=pictures, votes=votes, walk=steps)
    kinds = {
        "face": {"name": "image", "size": 6},
        "votes": {"name": "features"},
        "walk": {"name": "sequence", "length": 7},
    }
    pack(Manifest.model_validate({"file": str(tmp_path / "t.npz"), "kinds": kinds}), tmp_path / "packed")
    train = open_split(tmp_path / "packed", "train")
    ids = pl.read_parquet(tmp_path / "packed/train/manifest.parquet")["id"]
    rows = [int(name.removeprefix("row ")) - 1 for name in ids]
    assert np.array_equal(train.arrays["face"], pictures[rows].transpose(0, 3, 1, 2))
    assert np.array_equal(train.arrays["votes"], votes[rows].astype(np.float32))
    assert np.array_equal(train.arrays["walk"], steps[rows].astype(np.float32))
    assert Meta.read(tmp_path / "packed").classes == ("no", "yes")


def test_parts_of_a_saved_data_set(tmp_path: Path) -> None:
    file = as_saved(tmp_path)["file"]
    alone = read_table(Path(file), ["train"])
    assert "split" not in alone.columns and alone["label"].unique().sort().to_list() == ["3", "8"]
    with pytest.raises(InputError, match="unknown part of .*saved 'dev'"):
        read_table(Path(file), ["dev"])
    with pytest.raises(InputError, match="has no parts"):
        read_table(EXAMPLE / "pairs.csv", ["train"])


def test_a_name_that_the_hub_does_not_have_and_an_extra_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/state.json").touch()
    dataset = Manifest.model_validate({"hub": str(tmp_path / "none"), "kinds": KINDS})
    with pytest.raises(InputError, match="preprocess.hub: .*none' cannot be read"):
        dataset.items(dataset.locate())
    monkeypatch.setitem(sys.modules, "datasets", None)
    for given in ({"hub": "owner/name"}, {"file": str(tmp_path / "saved")}):
        dataset = Manifest.model_validate({"kinds": KINDS, **given})
        with pytest.raises(InputError, match=r"needs datasets: pip install 'bss\[datasets\]'"):
            dataset.items(dataset.locate())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name one of the two"),
        ({"file": "t.csv", "hub": "owner/name"}, "name one of the two"),
        ({"file": "t.csv", "config": "en"}, "config and revision are of a data set of the hub"),
    ],
)
def test_a_table_has_one_source(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Manifest.model_validate({"kinds": KINDS, **given})


def test_a_model_takes_shards_as_the_table_of_its_files(expected: Path, tmp_path: Path) -> None:
    """Rows for `bss predict`."""
    given = as_shards(tmp_path)
    path = tmp_path / "test-000.tar"
    kinds = Manifest.model_validate({"kinds": KINDS, "file": "none.csv"}).kinds
    rows = Rows(read_table(path), path, Meta.read(expected), kinds, given["columns"])
    assert rows.ids == ["test-000/3_182", "test-000/8_173"]
    for name, array in rows.read(0, 2).items():
        assert np.array_equal(array, open_split(expected, "test").arrays[name])


def test_files_that_no_modality_reads_are_not_kept(tmp_path: Path) -> None:
    given = as_shards(tmp_path)
    pairs = [pair for pair in listed() if pair["split"] == "train"]
    several = {name: data for pair in pairs for name, data in (members(pair) | {f"{pair['id']}.zip": b"x"}).items()}
    write_tar(tmp_path / "train-000.tar", several)
    dataset = Manifest.model_validate({"kinds": KINDS, **given})
    columns = dataset.items(dataset.locate()).columns
    assert "who" in columns and "zip" not in columns


def test_a_folder_may_have_the_characters_of_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "my[1]{a,b}*"
    folder.mkdir()
    path = write_tar(folder / "t.tar", members(PAIR))
    assert len(read_table(path)) == 1
    assert Manifest.model_validate({"file": str(folder / "t.csv"), "kinds": KINDS}).inputs[1] == folder


def test_a_page_calls_the_data_by_the_name_on_the_hub() -> None:
    dataset = Manifest.model_validate({"hub": "owner/name", "kinds": KINDS})
    assert dataset.titled(Path("data/sample")) == "owner/name"
    assert dataset.inputs == ()


@pytest.mark.parametrize("name", ["audio", "image", "features", "sequence", "depth", "video", "text"])
def test_every_kind_that_reads_a_file_reads_its_content(name: str, tmp_path: Path) -> None:
    from bss.data.kinds.kind import KINDS as EVERY
    from tests.helpers.media import write_video

    path = tmp_path / "value"
    if name == "video":
        path = tmp_path / "clip.mp4"
        write_video(path, 0, 4)
    elif name in KINDS:
        path.write_bytes(content(PAIR, name))
    elif name == "text":
        path.write_bytes("h\u00e9llo w\u00f6rld".encode())
    else:
        array = np.arange(6.0) if name == "features" else np.arange(36.0).reshape(6, 6)  # (T, size), (H, W)
        np.save(tmp_path / "value.npy", array)
        shutil.move(tmp_path / "value.npy", path)
    fields: dict[str, dict[str, Any]] = {
        **KINDS,
        "sequence": {"length": 6},
        "video": {"size": 8, "num_frames": 2},
        "depth": {"size": 6},
        "features": {"size": 6},
    }
    kind = EVERY.build({**fields.get(name, {"length": 3, "from_files": True}), "name": name})
    cell = {"bytes": path.read_bytes(), "path": "elsewhere"}
    kind = kind.fitted([cell])
    assert np.array_equal(kind.read(cell), kind.read(path))
    assert kind.exhibit(cell) == kind.exhibit(path)
    assert kind.describe(cell) == kind.describe(path)
    with pytest.raises(InputError):
        kind.read({"bytes": None, "path": "elsewhere"})
