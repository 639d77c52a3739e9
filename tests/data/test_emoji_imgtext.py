"""The pairs, the classes and the split of emoji_imgtext."""

import hashlib
import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import polars as pl
import pytest

from bss.data.datasets import emoji_imgtext
from bss.data.datasets._fetch import fetch, raw_folder
from bss.data.datasets.emoji_imgtext import PICTURES, WORDS, EmojiImgText, by_motif, file_name, motif
from bss.data.packed import open_split
from bss.data.packing.pack import pack
from bss.types import Split
from tests.helpers import ROOT

GROUPS = (
    *("smileys-emotion", "people-body", "animals-nature", "food-drink", "travel-places"),
    *("activities", "objects", "symbols", "flags"),
)
NUM_PAIRS = dict(zip(GROUPS, (169, 386, 159, 131, 218, 85, 264, 224, 270), strict=True))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published files."""
    monkeypatch.chdir(ROOT)
    found = raw_folder("emoji_imgtext")
    if not found.is_dir():
        pytest.skip("emoji_imgtext is not here: set BSS_DATA to the folder that holds it")
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder laid out as the published one: 40 emoji in each group, a component, and one of no group."""
    pictures = tmp_path / "assets" / "72x72"
    pictures.mkdir(parents=True)
    entries: list[dict[str, Any]] = [
        {"label": "red hair", "hexcode": "1F9B0", "tags": ["ginger"], "group": 2},
        {"label": "regional indicator A", "hexcode": "1F1E6"},
    ]
    draw = np.random.default_rng(0)
    for group in (0, 1, 3, 4, 5, 6, 7, 8, 9):
        for number in range(40):
            code = f"1F{group}{number:02}"
            thing = number // 2 if number < 20 else number
            name = f"Thing{thing} {('man', 'woman')[number % 2]}"
            entries.append({"label": name, "hexcode": code, "tags": [f"tag {group}", "more"], "group": group})
            pixels = draw.integers(0, 256, (72, 72, 4)).astype(np.uint8)
            pixels[:, :36, 3], pixels[:, 36:, 3] = 0, 255
            PIL.Image.fromarray(pixels).save(pictures / f"{code.lower()}.png")
    (tmp_path / "emojibase.data.json").write_text(json.dumps(entries))
    return tmp_path


def pairs(root: Path, **fields: Any) -> pl.DataFrame:
    return EmojiImgText(**fields).items(root)


def test_each_emoji_of_a_group_is_a_pair(tree: Path) -> None:
    items = pairs(tree, flags=True)
    assert (
        items["label"].unique(maintain_order=True).to_list() == list(GROUPS) == list(EmojiImgText(flags=True).classes)
    )
    assert set(items["label"].value_counts()["count"]) == {40}
    assert items.row(0, named=True) == {
        "id": "1f000",
        "label": "smileys-emotion",
        "split": items["split"][0],
        "image": "assets/72x72/1f000.png",
        "text": "Thing0 man",
        "damaged": None,
        "name": "Thing0 man",
        "motif": "thing0",
    }
    assert pairs(tree).equals(items.filter(pl.col("label") != "flags"))
    assert EmojiImgText().classes == GROUPS[:-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("name", "Thing0 man"), ("keywords", "tag 0, more"), ("both", "Thing0 man: tag 0, more")],
)
def test_the_words_are_the_chosen_ones(tree: Path, text: str, expected: str) -> None:
    assert pairs(tree, text=text)["text"][0] == expected


def test_a_name_stands_in_for_keywords_without_a_word(tree: Path) -> None:
    path = tree / WORDS.path
    entries = json.loads(path.read_text())
    entries[2]["tags"] = ["+"]
    path.write_text(json.dumps(entries))
    assert pairs(tree, text="keywords")["text"][0] == "Thing0 man"


def test_a_whole_tree_is_packed(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(emoji_imgtext, "obtain", lambda sources, folder: tree)
    pack(EmojiImgText(image_size=72), tmp_path / "packed")
    items = pairs(tree)
    for split in Split:
        packed = open_split(tmp_path / "packed", split)
        assert packed.ids == tuple(items.filter(split=split.value)["id"])
        assert packed.arrays["image"].shape[1:] == (3, 72, 72)
        assert (packed.arrays["image"][..., :36] == 255).all(), "what is transparent is white"
        assert packed.arrays["text"].shape[1:] == (8,)
    tokens = packed.meta.modalities["text"].tokens
    assert tokens is not None
    assert set(tokens) >= {"<pad>", "<unknown>", "man", "woman"}


def test_damage_moves_values_of_training_pairs_alone(tree: Path) -> None:
    plain, hard = pairs(tree), pairs(tree, damage=0.5, seed=1)
    counts = Counter(hard["damaged"])
    assert counts["image"] == counts["text"] == round(0.5 * (plain["split"] == "train").sum()) // 2
    for name in ("image", "text"):
        moved = hard.filter(plain[name] != hard[name])
        assert set(moved["damaged"]) == {name}
        assert set(moved["split"]) == {"train"}
        assert sorted(plain[name]) == sorted(hard[name])
    for column in ("id", "label", "split", "name", "motif"):
        assert plain[column].equals(hard[column])


@pytest.mark.parametrize(
    ("hexcode", "name"),
    [
        ("1F600", "1f600.png"),
        ("00A9", "a9.png"),
        ("0023-FE0F-20E3", "23-20e3.png"),
        ("2764-FE0F-200D-1F525", "2764-fe0f-200d-1f525.png"),
        ("1F441-FE0F-200D-1F5E8-FE0F", "1f441-200d-1f5e8.png"),
    ],
)
def test_the_picture_of_an_emoji(hexcode: str, name: str) -> None:
    assert file_name(hexcode) == name


@pytest.mark.parametrize(
    "names",
    [
        ("person running", "man running", "woman running", "woman running facing right"),
        ("one o\u2019clock", "twelve-thirty"),
        ("family: man, woman, boy", "family: adult, child", "family"),
        ("red circle", "white circle"),
        ("up arrow", "down-left arrow"),
        ("keycap: #", "keycap: 10"),
    ],
)
def test_variants_of_a_drawing_have_one_motif(names: tuple[str, ...]) -> None:
    assert len({motif(name) for name in names}) == 1


def test_other_things_have_other_motifs() -> None:
    names = ("grinning face", "face", "man running", "man walking", "alarm clock", "red circle", "red square")
    assert len({motif(name) for name in names}) == len(names)


def test_the_split_keeps_motifs_together_and_shares_fair() -> None:
    draw = np.random.default_rng(0)
    groups = np.repeat([0, 1, 7], [400, 90, 250]).tolist()
    motifs = [f"motif {number}" for number in draw.zipf(1.6, len(groups)).clip(max=60)]
    splits = by_motif(groups, motifs)
    assert splits == by_motif(groups, motifs)
    place: dict[tuple[int, str], set[str]] = {}
    for group, name, split in zip(groups, motifs, splits, strict=True):
        place.setdefault((group, name), set()).add(split)
    assert {len(found) for found in place.values()} == {1}
    sizes = Counter(zip(groups, splits, strict=True))
    members = Counter(zip(groups, motifs, strict=True))
    for group in (0, 1, 7):
        for split, share in (("test", 0.2), ("validation", 0.1)):
            room = round(share * groups.count(group))
            assert sizes[group, split] <= room
            inside = [size for key, size in members.items() if key[0] == group and place[key] == {split}]
            assert max(inside) <= room / 4


def test_a_group_is_split_alike_whatever_stands_beside_it() -> None:
    motifs = [str(number) for number in range(100)]
    assert by_motif([3] * 100 + [9] * 100, motifs * 2)[100:] == by_motif([9] * 100, motifs)


def test_the_pictures_are_taken_out_of_the_published_archive(tree: Path, tmp_path: Path) -> None:
    archive = tmp_path / "published.zip"
    with zipfile.ZipFile(archive, "w") as content:
        for name in ("assets/72x72/1f000.png", "assets/svg/1f000.svg", "assets/36x36/1f000.png", "README.md"):
            content.writestr(f"twemoji-assets-abc/{name}", name)
    digest = hashlib.sha256(b"assets/72x72/1f000.png").hexdigest()
    listed = hashlib.sha256(f"{digest}  1f000.png\n".encode()).hexdigest()
    fetch(replace(PICTURES, address=archive.as_uri(), sha256=listed), tmp_path / "raw")
    files = [path.relative_to(tmp_path / "raw") for path in (tmp_path / "raw").rglob("*") if path.is_file()]
    assert files == [Path("assets/72x72/1f000.png")]


@pytest.mark.parametrize(("flags", "num_pairs"), [(False, 1636), (True, 1906)])
def test_the_numbers_are_the_published_ones(folder: Path, flags: bool, num_pairs: int) -> None:
    items = pairs(folder, flags=flags)
    assert len(items) == items["id"].n_unique() == items["image"].n_unique() == num_pairs
    expected = {name: number for name, number in NUM_PAIRS.items() if flags or name != "flags"}
    assert dict(items["label"].value_counts().rows()) == expected
    sizes = {False: (1145, 163, 328), True: (1334, 190, 382)}[flags]
    assert dict(items["split"].value_counts().rows()) == dict(zip(Split, sizes, strict=True))
    assert all((folder / path).is_file() for path in items["image"])


def test_no_two_splits_have_a_motif_of_a_class_in_common(folder: Path) -> None:
    items = pairs(folder, flags=True)
    assert items.group_by("label", "motif").agg(pl.col("split").n_unique())["split"].max() == 1
    running = items.filter(pl.col("name").str.contains("running"), label="people-body")
    assert len(running) == 6
    assert running["split"].n_unique() == 1


@pytest.mark.parametrize("text", ["name", "keywords", "both"])
def test_no_text_is_cut_and_none_is_empty(folder: Path, text: str) -> None:
    kind = EmojiImgText(text=text, flags=True).modalities["text"]
    texts = pairs(folder, text=text, flags=True)["text"].to_list()
    learned = kind.fitted(texts)
    arrays = np.stack([learned.read(value) for value in texts])
    assert (arrays[:, 0] > 0).all()
    assert (arrays[:, -1] > 0).any()
    longer = kind.model_copy(update={"length": kind.shape[0] + 1}).fitted(texts)
    assert all(longer.read(value)[-1] == 0 for value in texts)


def test_the_files_here_are_the_published_ones(folder: Path) -> None:
    assert EmojiImgText().locate() == folder


def test_a_changed_table_and_a_missing_picture_are_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BSS_DATA", str(tmp_path))
    copy = tmp_path / "emoji_imgtext"
    (copy / PICTURES.path).mkdir(parents=True)
    for picture in (folder / PICTURES.path).resolve().iterdir():
        (copy / PICTURES.path / picture.name).symlink_to(picture)
    (copy / WORDS.path).write_bytes((folder / WORDS.path).read_bytes().replace(b"grinning", b"grinding", 1))
    with pytest.raises(ValueError, match=rf"{WORDS.path} is not as published"):
        EmojiImgText().locate()
    (copy / PICTURES.path / "1f600.png").unlink()
    with pytest.raises(ValueError, match=rf"{PICTURES.path} is not as published"):
        EmojiImgText().locate()
