"""Multimodal sarcasm from the publisher's text lists and from JSON lists."""

import json
from pathlib import Path
from typing import Any

import pytest

from bss.data.datasets.sarcasm import Sarcasm
from bss.data.packing.check import BadData
from bss.types import Split
from tests.helpers.media import write_jpg
from tests.helpers.stages import FAST, packed, raw_root, run_stages

TINY: dict[str, Any] = {"image_size": 16, "length": 6}
PARTS = {"train": 8, "valid2": 4, "test2": 4}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return raw_root("sarcasm", tmp_path, monkeypatch)


def entries(part: str) -> list[tuple[str, str, int]]:
    base = 1000 * list(PARTS).index(part) + 7
    return [
        (str(base + row), f'it \'s "so {"great" if row % 2 else "dull"}" # {row}', row % 2)
        for row in range(PARTS[part])
    ]


def write_images(root: Path, suffix: str = "jpg") -> None:
    for part in PARTS:
        for identity, _, _ in entries(part):
            write_jpg(root / f"dataset_image/{identity}.{suffix}", int(identity))


def write_lists(root: Path, folder: str = "text") -> None:
    """Validation and test have two labels: the hashtag says the opposite."""
    write_images(root)
    (root / folder).mkdir(exist_ok=True)
    for part in PARTS:
        rows = [
            [name, text, label] if part == "train" else [name, text, 1 - label, label]
            for name, text, label in entries(part)
        ]
        (root / folder / f"{part}.txt").write_text("\n".join(map(repr, rows)) + "\n")


def write_json(root: Path) -> None:
    write_images(root)
    for part in PARTS:
        rows = [{"image": f"data/{name}.jpg", "text": text, "label": label} for name, text, label in entries(part)]
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/{part.rstrip('2')}_data.json").write_text(json.dumps(rows))


@pytest.mark.parametrize("folder", ["text", "."])
def test_the_text_lists(root: Path, tmp_path: Path, folder: str) -> None:
    write_lists(root, folder)
    splits = packed(Sarcasm(**TINY), tmp_path / "packed")
    assert [len(splits[split]) for split in Split] == [8, 4, 4]
    assert splits[Split.TEST].ids == ("2007", "2008", "2009", "2010")
    assert splits[Split.TEST].labels.tolist() == splits[Split.VALIDATION].labels.tolist() == [0, 1, 0, 1]
    assert splits[Split.TEST].arrays["image"].shape == (4, 3, 16, 16)
    tokens = splits[Split.TRAIN].meta.modalities["text"].tokens or ()
    words = [tokens[number] for number in splits[Split.TEST].arrays["text"][1]]
    assert words == ["it", "s", "so", "great", "1", "<pad>"]


def test_the_json_lists_are_the_same(root: Path, tmp_path: Path) -> None:
    write_json(root)
    from_json = packed(Sarcasm(**TINY), tmp_path / "json")
    for path in root.glob("annotations/*.json"):
        path.unlink()
    write_lists(root)
    from_lists = packed(Sarcasm(**TINY), tmp_path / "lists")
    for split in Split:
        assert from_json[split].ids == from_lists[split].ids
        assert (from_json[split].labels == from_lists[split].labels).all()
        for name in ("image", "text"):
            assert (from_json[split].arrays[name] == from_lists[split].arrays[name]).all()


def test_of_two_labels_the_last_is_by_a_person_and_the_first_by_the_hashtag(root: Path) -> None:
    write_lists(root)
    human, hashtag = (Sarcasm(label=name).items(root) for name in ("human", "hashtag"))
    assert human.filter(split="train").equals(hashtag.filter(split="train"))
    assert (human.filter(split="test")["label"] != hashtag.filter(split="test")["label"]).all()
    assert "by hashtag" in Sarcasm(label="hashtag").notes[1]


def test_tweets_that_tell_their_label_are_left_out(root: Path) -> None:
    write_lists(root)
    path = root / "text/train.txt"
    path.write_text(f"{path.read_text()}['99', 'such sarcasm here', 1]\n['98', 'sarcasmic', 1]\n")
    assert "99" not in Sarcasm().items(root)["id"]
    assert "98" in Sarcasm().items(root)["id"]
    assert "99" in Sarcasm(drop_telling=False).items(root)["id"]


@pytest.mark.parametrize(
    "line",
    [
        "['9', 'no label']",
        "['9', 'odd label', 2]",
        "['9', 'true', True]",
        "['9', 'not closed, 1]",
        "['9', 5, 1]",
        "__import__('os').getcwd()",
        "9, text, 1",
    ],
)
def test_a_broken_line_is_named_and_nothing_is_run(root: Path, line: str) -> None:
    write_lists(root)
    path = root / "text/train.txt"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"text/train\.txt, line 9: \['ID', 'TEXT', LABEL\] or two labels of 0 or 1"):
        Sarcasm().items(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"image": "1.jpg", "text": "x"}]', "entry 1: image, text and a label of 0 or 1 are needed"),
        ('[{"image": "1.jpg", "text": "x", "label": 3}]', "entry 1: image, text"),
        ("[1", "no list in JSON"),
        ("3", "no list in JSON"),
    ],
)
def test_a_broken_json_list_is_named(root: Path, content: str, message: str) -> None:
    write_json(root)
    (root / "annotations/valid_data.json").write_text(content)
    with pytest.raises(ValueError, match=rf"valid_data\.json.*{message}"):
        Sarcasm().items(root)


def test_a_missing_list_or_picture_is_named(root: Path, tmp_path: Path) -> None:
    write_lists(root)
    (root / "dataset_image/2009.jpg").unlink()
    with pytest.raises(BadData, match=r"\(2009\), dataset_image/2009\.jpg: no such file"):
        packed(Sarcasm(**TINY), tmp_path / "packed")
    (root / "text/test2.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"sarcasm/text/test2\.txt.* is missing") as error:
        Sarcasm().locate()
    assert "published loaders" in str(error.value)
    assert "headacheboy" in str(error.value)


@pytest.mark.nightly
def test_the_whole_pipeline(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lists(root)
    monkeypatch.chdir(tmp_path)
    encoders = {"image": FAST, "text": {"name": "text_embedding"}}
    assert set(run_stages(tmp_path, {"name": "sarcasm", **TINY}, encoders)) >= {"image", "text", "fused"}
