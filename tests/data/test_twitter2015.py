"""Twitter-15 with the header of TomBERT and with that of the published loaders."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bss.data.datasets.twitter2015 import Twitter2015
from bss.data.packing.check import BadData
from bss.types import Split
from tests.helpers.media import write_jpg
from tests.helpers.stages import FAST, packed, raw_root, run_stages

TINY: dict[str, Any] = {"image_size": 16, "length": 6}
TOMBERT = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String"
PARTS = {"train": 9, "dev": 3, "test": 3}
NAMES = ("negative", "neutral", "positive")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return raw_root("twitter2015", tmp_path, monkeypatch)


def write(root: Path, header: str = TOMBERT, folder: str = ".") -> None:
    (root / folder).mkdir(exist_ok=True)
    for part, number in PARTS.items():
        rows = [header]
        for row in range(number):
            write_jpg(root / f"twitter2015_images/{part}{row}.jpg", row + 100 * len(part) + ord(part[0]))
            text = f'RT @ user : "the $T$ is {NAMES[row % 3]} today'
            cells = {"index": row, "Label": row % 3, "ImageID": f"{part}{row}.jpg", "String": text}
            values = [str(cells[name.rpartition(" ")[2]]) for name in header.split("\t")]
            rows.append("\t".join([*values[:-1], f"Team {row}"] if header == TOMBERT else values))
        (root / folder / f"{part}.tsv").write_text("\n".join(rows) + "\n")


def words(split: Any, row: int) -> list[str]:
    tokens = split.meta.modalities["text"].tokens
    return [tokens[number] for number in split.arrays["text"][row]]


def test_the_lists_as_handed_out(root: Path, tmp_path: Path) -> None:
    write(root)
    splits = packed(Twitter2015(**(TINY | {"length": 9})), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [9, 3, 3]
    assert splits[Split.VALIDATION].ids == ("dev-2", "dev-3", "dev-4")
    assert splits[Split.TRAIN].meta.classes == NAMES
    assert splits[Split.TRAIN].labels.tolist() == [0, 1, 2] * 3
    assert splits[Split.TRAIN].arrays["image"].shape == (9, 3, 16, 16)
    expected = ["rt", "user", "the", "team", "4", "is", "neutral", "today", "<pad>"]
    assert words(splits[Split.TRAIN], 4) == expected, "the target stands in the text"
    manifest = pl.read_parquet(tmp_path / "packed/test/manifest.parquet")
    assert manifest["target"].to_list() == ["Team 0", "Team 1", "Team 2"]
    assert manifest["image"][1] == "twitter2015_images/test1.jpg"


def test_the_lists_of_the_published_loaders(root: Path, tmp_path: Path) -> None:
    write(root, "Label\tImageID\tString", "annotations")
    splits = packed(Twitter2015(**TINY), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [9, 3, 3]
    assert splits[Split.TEST].arrays["text"].shape == (3, 6)
    assert words(splits[Split.TRAIN], 1) == ["rt", "user", "the", "is", "neutral", "today"]


@pytest.mark.nightly
def test_a_tokenizer_of_a_folder(root: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    write(root)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "team", "is", "neutral"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "tokenizer")
    splits = packed(Twitter2015(tokenizer=str(tmp_path / "tokenizer"), length=16, image_size=16), tmp_path / "packed")
    assert words(splits[Split.TRAIN], 1)[0] == "[CLS]"
    assert "team" in words(splits[Split.TRAIN], 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9\t1\ta.jpg\tno target", "line 11: 5 columns with a label of 0, 1 or 2 are needed, got '9"),
        ("9\t3\ta.jpg\tan unknown $T$\tlabel", "line 11: 5 columns with a label of 0, 1 or 2"),
    ],
)
def test_a_broken_line_is_named(root: Path, line: str, message: str) -> None:
    write(root)
    (root / "train.tsv").write_text((root / "train.tsv").read_text() + line)
    with pytest.raises(ValueError, match=rf"train\.tsv, {message}"):
        Twitter2015().items(root)


def test_a_missing_column_is_named(root: Path) -> None:
    write(root)
    (root / "dev.tsv").write_text("index\t#1 Label\t#3 String\n")
    with pytest.raises(ValueError, match=r"dev\.tsv: no column 'ImageID' \(there are: index, Label, String\)"):
        Twitter2015().items(root)


@pytest.mark.parametrize("folder", [".", "annotations"])
def test_a_missing_list_is_answered_with_both_layouts(root: Path, folder: str) -> None:
    write(root, folder=folder)
    (root / folder / "dev.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"dev\.tsv is missing") as error:
        Twitter2015().locate()
    for part in ("as handed out", "published loaders", "TomBERT"):
        assert part in str(error.value)


def test_a_missing_picture_is_named(root: Path, tmp_path: Path) -> None:
    write(root)
    (root / "twitter2015_images/train3.jpg").unlink()
    with pytest.raises(BadData, match=r"row 4 \(train-5\), twitter2015_images/train3\.jpg: no such file"):
        packed(Twitter2015(**TINY), tmp_path / "packed")


@pytest.mark.nightly
def test_the_whole_pipeline(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root)
    monkeypatch.chdir(tmp_path)
    encoders = {"image": FAST, "text": {"name": "text_embedding"}}
    assert set(run_stages(tmp_path, {"name": "twitter2015", **TINY}, encoders)) >= {"image", "text", "fused"}
