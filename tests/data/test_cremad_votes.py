"""The votes, the splits and the columns for studies of cremad_votes."""

import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from bss.data.datasets._fetch import raw_folder
from bss.data.datasets.cremad_votes import TEST_LIST, TRAIN_LIST, VOTES, CremadVotes
from bss.data.packed import open_split
from bss.data.packing.pack import pack
from bss.types import Split
from tests.helpers import ROOT

HEADER = (
    '"","A","D","F","H","N","S","fileName","numResponses","agreement","emoVote","meanEmoResp","meanAngerResp",'
    '"meanDisgustResp","meanFearResp","meanHappyResp","meanNeutralResp","meanSadResp","medianEmoResp",'
    '"meanEmoRespNorm","meanAngerRespNorm","meanDisgustRespNorm","meanFearRespNorm","meanHappyRespNorm",'
    '"meanNeutralRespNorm","meanSadRespNorm","medianEmoRespNorm"\n'
)
CLASSES = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
CLIPS = [
    f"{actor}_{text}_{emotion}_XX" for actor in range(1001, 1041) for text in ("TIE", "IEO") for emotion in CLASSES
]
TEST_ACTORS = [str(1000 + number) for number in (13, 14, 18, 20, 29, 30, 35, 45, 49, 61, 63, 67, 85, 88)]
Votes = dict[tuple[int, str], list[int]]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published files."""
    monkeypatch.chdir(ROOT)
    found = raw_folder("cremad_votes")
    if not found.is_dir():
        pytest.skip("cremad_votes is not here: set BSS_DATA to the folder that holds it")
    return found


@pytest.fixture
def votes() -> Votes:
    """The votes of 40 actors, two sentences and six emotions: about ten votes on each clip and query."""
    draw = np.random.default_rng(0)
    chances = {clip: draw.dirichlet(np.ones(6)) for clip in CLIPS}
    return {
        (query, clip): draw.multinomial(9 + query % 2, chances[clip]).tolist()
        for query in (1, 2, 3)
        for clip in CLIPS
    }


def write(root: Path, votes: Votes, train: list[str] | None = None, test: list[str] | None = None) -> Path:
    """A folder laid out as the published one; the lists hold each actor's first sentence and second sentence."""
    root.mkdir(exist_ok=True)
    place = {clip: number for number, clip in enumerate(CLIPS, start=1)}
    rows = [
        f'"{query}{place[clip]:05}",{",".join(map(str, counts))},"{clip}",{sum(counts)},0.6,"A:H",57.6,82.5,-1,'
        "-1,63.5,15,-1,69.5,52.9273089246813,84.4201850780798,-1,-1,NA,10.5882352941176,-1,66.3081395348837\n"
        for (query, clip), counts in votes.items()
    ]
    (root / VOTES.path).write_text(HEADER + "".join(rows))
    for source, clips, text in [(TRAIN_LIST, train, "TIE"), (TEST_LIST, test, "IEO")]:
        listed = [clip for clip in reversed(CLIPS) if text in clip] if clips is None else clips
        (root / source.path).write_bytes("".join(f"{clip},{clip[9:12]}\r\n" for clip in listed).encode())
    return root


def pairs(root: Path, **fields: Any) -> pl.DataFrame:
    return CremadVotes(**fields).items(root)


def test_each_clip_has_the_shares_of_its_votes(tmp_path: Path, votes: Votes) -> None:
    items = pairs(write(tmp_path, votes))
    assert items["id"].to_list() == sorted(CLIPS)
    for name, query in [("voice", 1), ("face", 2)]:
        for clip, shares in zip(items["id"], items[name].to_list(), strict=True):
            counts = votes[query, clip]
            assert shares == [count / sum(counts) for count in counts]
    assert (items["label"] == items["id"].str.slice(9, 3)).all()
    assert (items["actor"] == items["id"].str.slice(0, 4)).all()


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path, votes: Votes) -> None:
    mixed = dict(reversed(votes.items()))
    for split in ("actor", "random"):
        left, right = (
            pairs(write(tmp_path / name, rows), split=split) for name, rows in [("a", votes), ("b", mixed)]
        )
        assert left.equals(right)


def columns(voice: list[int], face: list[int], both: list[int], label: str) -> tuple[bool, float, float]:
    """Agreement, similarity and share of the intended emotion, as one would reckon them by hand."""
    heard = [place for place in range(6) if voice[place] == max(voice)]
    seen = [place for place in range(6) if face[place] == max(face)]
    dot = sum(left * right for left, right in zip(voice, face, strict=True))
    length = math.sqrt(sum(count**2 for count in voice)) * math.sqrt(sum(count**2 for count in face))
    return any(place in seen for place in heard), dot / length, both[CLASSES.index(label)] / sum(both)


def compare(items: pl.DataFrame, votes: Votes) -> None:
    for row in items.iter_rows(named=True):
        voice, face, both = (votes[query, row["id"]] for query in (1, 2, 3))
        agree, similarity, share = columns(voice, face, both, row["label"])
        assert row["agree"] == agree
        assert row["vote_similarity"] == pytest.approx(similarity, abs=1e-12)
        assert row["both_agreement"] == pytest.approx(share, abs=1e-12)


def test_the_columns_for_studies_are_those_of_a_slow_reckoning(tmp_path: Path, votes: Votes) -> None:
    items = pairs(write(tmp_path, votes))
    compare(items, votes)
    assert set(items["agree"]) == {True, False}


@pytest.mark.parametrize(
    ("voice", "face", "agree"),
    [
        ([5, 5, 0, 0, 0, 0], [0, 9, 0, 0, 0, 0], True),
        ([9, 0, 0, 0, 0, 0], [3, 3, 3, 0, 0, 0], True),
        ([4, 4, 1, 1, 0, 0], [0, 0, 4, 4, 1, 0], False),
        ([4, 0, 0, 0, 0, 3], [3, 0, 0, 0, 0, 4], False),
        ([2, 2, 2, 2, 2, 2], [0, 0, 0, 0, 0, 9], True),
    ],
)
def test_one_of_several_that_tie_is_enough_to_agree(
    tmp_path: Path, votes: Votes, voice: list[int], face: list[int], agree: bool
) -> None:
    changed = {(1, CLIPS[0]): voice, (2, CLIPS[0]): face}
    row = pairs(write(tmp_path, votes | changed)).row(by_predicate=pl.col("id") == CLIPS[0], named=True)
    assert row["agree"] == agree


def test_damage_moves_votes_of_training_pairs_and_their_columns_with_them(tmp_path: Path, votes: Votes) -> None:
    root = write(tmp_path, votes)
    plain, hard = pairs(root), pairs(root, damage=0.5, seed=3)
    train = (plain["split"] == Split.TRAIN).sum()
    assert hard["damaged"].drop_nulls().value_counts().sort("damaged").rows() == [
        ("face", train // 4),
        ("voice", train // 4),
    ]
    intact = hard["damaged"].is_null()
    assert plain.filter(intact).equals(hard.filter(intact))
    assert hard.filter(~intact)["split"].unique().to_list() == [Split.TRAIN]
    for column in ("id", "label", "split", "actor", "both_agreement"):
        assert plain[column].equals(hard[column])
    assert not plain["vote_similarity"].equals(hard["vote_similarity"])
    for row in hard.iter_rows(named=True):
        dot = sum(left * right for left, right in zip(row["voice"], row["face"], strict=True))
        assert row["vote_similarity"] == pytest.approx(dot / math.hypot(*row["voice"]) / math.hypot(*row["face"]))


def test_the_random_split_takes_its_validation_from_the_training_list(tmp_path: Path, votes: Votes) -> None:
    items = pairs(write(tmp_path, votes), split="random")
    assert set(items.filter(split="test")["id"]) == {clip for clip in CLIPS if "IEO" in clip}
    validation = items.filter(split="validation")
    assert Counter(validation["label"]) == dict.fromkeys(CLASSES, 4)
    assert validation["id"].str.contains("TIE").all()


def test_it_packs(tmp_path: Path, votes: Votes, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "raw", votes)
    monkeypatch.setattr(CremadVotes, "locate", lambda _: root)
    pack(CremadVotes(), tmp_path / "packed")
    items = pairs(root)
    for split in Split:
        opened = open_split(tmp_path / "packed", split)
        rows = items.filter(split=split.value)
        assert list(opened.ids) == rows["id"].to_list()
        np.testing.assert_array_equal(opened.arrays["face"], rows["face"].to_numpy().astype(np.float32))
        manifest = pl.read_parquet(tmp_path / "packed" / split / "manifest.parquet")
        assert {"actor", "agree", "vote_similarity", "both_agreement", "damaged"} <= set(manifest.columns)
    assert opened.meta.modalities["voice"].encoder == "mlp"


@pytest.mark.parametrize(("query", "name"), [(1, "voice"), (2, "face"), (3, "both")])
@pytest.mark.parametrize("counts", [None, [0] * 6], ids=["no row", "no votes"])
def test_a_clip_without_votes_is_named(
    tmp_path: Path, votes: Votes, query: int, name: str, counts: list[int] | None
) -> None:
    del votes[query, CLIPS[5]]
    votes |= {(query, CLIPS[5]): counts} if counts else {}
    with pytest.raises(ValueError, match=f"{CLIPS[5]} has no votes for the query '{name}'"):
        pairs(write(tmp_path, votes))


def test_a_clip_with_two_rows_of_votes_is_named(tmp_path: Path, votes: Votes) -> None:
    path = write(tmp_path, votes) / VOTES.path
    path.write_text(path.read_text() + path.read_text().splitlines()[3] + "\n")
    with pytest.raises(ValueError, match=f"{CLIPS[2]} has several rows for the query 'voice'"):
        pairs(tmp_path)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (CLIPS[1:100], CLIPS[100:]),
        (CLIPS[:100], [CLIPS[0], *CLIPS[100:]]),
        (["0999_TIE_ANG_XX", *CLIPS[:9]], CLIPS[9:]),
    ],
    ids=["in no list", "in both lists", "without votes"],
)
def test_a_clip_that_is_not_listed_once_is_named(
    tmp_path: Path, votes: Votes, train: list[str], test: list[str]
) -> None:
    root = write(tmp_path, votes, train, test)
    assert len(pairs(root)) == len(CLIPS), "the actor split does not need the lists"
    with pytest.raises(ValueError, match=r"(1001_TIE_ANG_XX|0999_TIE_ANG_XX) has to be once in"):
        pairs(root, split="random")


@pytest.mark.parametrize("split", ["actor", "random"])
def test_the_published_clips_are_all_there(folder: Path, split: str) -> None:
    items = pairs(folder, split=split)
    published = pl.read_csv(folder / "SentenceFilenames.csv")["Filename"]
    assert items["id"].to_list() == sorted(published)
    assert items["id"].n_unique() == len(items) == 7442
    assert (
        dict(items["split"].value_counts().rows())
        == {
            "actor": {"train": 5146, "validation": 1148, "test": 1148},
            "random": {"train": 6028, "validation": 670, "test": 744},
        }[split]
    )
    for name in ("voice", "face"):
        np.testing.assert_allclose(items[name].to_numpy().sum(axis=1), 1, atol=1e-12)


def test_no_actor_is_in_two_splits_and_the_draw_is_for_good(folder: Path) -> None:
    items = pairs(folder)
    actors = {split: sorted(set(items.filter(split=split)["actor"])) for split in ("train", "validation", "test")}
    assert {split: len(found) for split, found in actors.items()} == {"train": 63, "validation": 14, "test": 14}
    assert len(set().union(*actors.values())) == 91
    assert actors["test"] == TEST_ACTORS
    assert items["split"].equals(pairs(folder, seed=7, damage=0.4)["split"])


def test_the_random_split_is_the_published_one(folder: Path) -> None:
    items = pairs(folder, split="random")
    listed = [line.split(",") for line in (folder / TEST_LIST.path).read_text().split()]
    assert dict(items.filter(split="test")["id", "label"].rows()) == dict(listed)
    parts = {name: Counter(items.filter(split=name)["label"]) for name in ("train", "validation")}
    for label in CLASSES:
        assert parts["validation"][label] == round(parts["train"][label] / 9)


def test_the_published_votes_give_the_columns_for_studies(folder: Path) -> None:
    table = pl.read_csv(folder / VOTES.path, columns=["", *"ADFHNS", "fileName"], schema_overrides={"": pl.String})
    votes = {(int(number[0]), clip): counts for number, *counts, clip in table.rows()}
    items = pairs(folder)
    compare(items, votes)
    assert items["agree"].sum() == 4098


def test_the_files_here_are_the_published_ones(folder: Path) -> None:
    assert CremadVotes().locate() == folder


def test_a_changed_file_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BSS_DATA", str(tmp_path))
    (tmp_path / "cremad_votes").mkdir()
    for source in (VOTES, TRAIN_LIST, TEST_LIST):
        shutil.copyfile(folder / source.path, tmp_path / "cremad_votes" / source.path)
    changed = tmp_path / "cremad_votes" / TEST_LIST.path
    changed.write_bytes(changed.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{TEST_LIST.path} is not as published"):
        CremadVotes().locate()
