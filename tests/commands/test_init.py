"""`bss init`: the data section of params.yaml for a table."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner, Result

from bss.__main__ import app
from bss.data.datasets.dataset import DATASETS
from bss.data.packing.pack import examine
from bss.data.proposal.section import propose
from bss.errors import InputError
from bss.params import load
from tests.data.test_forms import as_saved, as_shards
from tests.helpers import ROOT
from tests.helpers.media import write_frames, write_jpg, write_video, write_wav

NUM_ROWS = 24


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["init", *arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml and the example."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "data/example", tmp_path / "data/example")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_shows_the_section_and_writes_nothing(here: Path) -> None:
    before = (here / "params.yaml").read_bytes()
    done = run("data/example/pairs.csv")
    assert done.exit_code == 0, done.output
    assert max(map(len, done.output.splitlines())) <= 80
    explained, section, end = done.output.strip().split("\n\n")[1:]
    assert [line.split()[:2] for line in explained.splitlines()[1:]] == [
        ["id", "id"], ["label", "label"], ["split", "split"], ["audio", "audio"], ["image", "image"],
    ]  # fmt: skip
    found = yaml.safe_load(section)
    assert found["raw"] == "data/example"
    assert found["preprocess"]["kinds"]["image"] == {"name": "image", "size": 8, "channels": 1}
    assert end.splitlines() == [
        "Nothing is written. To write it to params.yaml:", "bss init data/example/pairs.csv --save",
    ]  # fmt: skip
    assert (here / "params.yaml").read_bytes() == before


def test_saved_it_is_checked_without_a_finding_and_comments_stay(here: Path) -> None:
    before = (here / "params.yaml").read_text()
    done = run("data/example/pairs.csv", "--save")
    assert done.output.strip().endswith("next: bss check")
    params = load(here / "params.yaml")
    assert (params.raw, params.preprocess.name) == ("data/example", "manifest")
    assert examine(params.preprocess, here / "packed").findings == []
    after = (here / "params.yaml").read_text()
    shown = yaml.safe_load(done.output.strip().split("\n\n")[2])["preprocess"]
    assert yaml.safe_load(after)["preprocess"] == shown
    assert max(map(len, after.splitlines())) <= max(map(len, before.splitlines())), "a line for each modality"
    own = ("# share of training", "# of the pairing", "name: digits")
    kept = [line for line in before.splitlines() if "#" in line and not any(part in line for part in own)]
    for comment in (line[line.index("#") :] for line in kept):
        assert comment in after, comment
    assert yaml.safe_load(after)["train"] == yaml.safe_load(before)["train"]


def test_what_only_another_data_set_had_goes(here: Path) -> None:
    text = (here / "params.yaml").read_text()
    text = text.replace("encoders: {}", "encoders: {audio: {name: mlp}}")
    (here / "params.yaml").write_text(text.replace("augment: {}", "augment: {image: {flip: true}}"))
    table = [
        {"label": f"c{row % 2}", "one": [float(row), 1.5], "two": f"some words {row}"} for row in range(NUM_ROWS)
    ]
    (here / "data/other").mkdir()
    pl.DataFrame(table).write_parquet(here / "data/other/t.parquet")
    assert run("data/other/t.parquet", "--save").exit_code == 0
    params = load(here / "params.yaml")
    assert list(params.preprocess.modalities) == ["one", "two"]
    assert params.encoders == {} and params.augment == {}


def files(folder: Path) -> dict[str, list[Any]]:
    """Every kind of file that a path may lead to, a row each."""
    film = write_video(folder / "film.mp4", 0, 4)
    steps = np.random.default_rng(0).normal(size=(NUM_ROWS, 9, 5, 3))
    columns: dict[str, list[Any]] = {
        name: [] for name in ("wave", "photo", "film", "frames", "pose", "walk", "vector")
    }
    for row in range(NUM_ROWS):
        columns["wave"].append(write_wav(folder / f"{row}.wav", row).rename(folder / f"w{row}").name)
        columns["photo"].append(write_jpg(folder / f"{row}.jpg", row).rename(folder / f"p{row}").name)
        columns["film"].append(shutil.copy(film, folder / f"f{row}").name)
        columns["frames"].append(write_frames(folder / f"frames{row}", row, 3).name)
        for name, array in (("pose", steps[row]), ("walk", steps[row, :, 0]), ("vector", steps[row, 0, 0])):
            np.save(folder / f"{name}{row}.npy", array)
            columns[name].append(f"{name}{row}.npy")
    return columns


def test_what_is_in_a_file_says_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    table = pl.DataFrame({"emotion": ["sad", "glad"] * (NUM_ROWS // 2), **files(tmp_path / "data")})
    table.write_csv(tmp_path / "data/t.csv")
    found = propose(Path("data/t.csv"))
    kinds = found.preprocess["kinds"]
    assert {name: kind["name"] for name, kind in kinds.items()} == {
        "wave": "audio", "photo": "image", "film": "video", "frames": "video",
        "pose": "skeleton", "walk": "sequence", "vector": "features",
    }  # fmt: skip
    assert kinds["pose"] == {"name": "skeleton", "joints": 5, "coordinates": 3, "length": 9}
    assert kinds["vector"] == {"name": "features", "size": 3}
    assert found.preprocess["columns"] == {"label": "emotion"}
    dataset = DATASETS.build(found.preprocess | {"allow": ["same_content"]})
    assert examine(dataset, tmp_path / "packed").findings == []


def table(**other: Any) -> dict[str, list[Any]]:
    draw = np.random.default_rng(0)
    columns: dict[str, list[Any]] = {"answer": ["yes", "no"] * (NUM_ROWS // 2)}
    columns |= {f"a{place}": draw.normal(size=NUM_ROWS).tolist() for place in range(4)}
    columns["spoken"] = [f"well now {row} words" for row in range(NUM_ROWS)]
    return columns | other


def proposed(folder: Path, columns: dict[str, list[Any]], **options: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    pl.DataFrame(columns).write_csv(folder / "t.csv")
    return propose(folder / "t.csv", **options).preprocess


def test_numbers_texts_and_roles_of_a_csv(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    more: dict[str, list[Any]] = {
        "Clip ID": [f"clip-{row}" for row in range(NUM_ROWS)],
        "speaker": [f"s{row // 3}" for row in range(NUM_ROWS)],
        "part": ["train", "train", "val", "val", "test", "test"] * (NUM_ROWS // 6),
        "height": draw.normal(size=NUM_ROWS).tolist(),
        "weight": draw.normal(size=NUM_ROWS).tolist(),
        "year": [2000 + row for row in range(NUM_ROWS)],
        "list": [json.dumps([row, 0.5]) for row in range(NUM_ROWS)],
    }
    found = proposed(tmp_path / "mine", table(**more))
    assert found["columns"] == {
        "label": "answer", "id": "Clip ID", "split": "part", "a": "a0..a3", "numbers": ["height", "weight"],
    }  # fmt: skip
    assert found["kinds"] == {
        "a": {"name": "features", "size": 4},
        "spoken": {"name": "text", "length": 4},
        "numbers": {"name": "features", "size": 2},
        "list": {"name": "features", "size": 2},
    }
    assert "speaker" not in str(found["columns"]), "one speaker is in two splits"
    assert examine(DATASETS.build(found), tmp_path / "packed").findings == []


@pytest.mark.parametrize("kind", [pl.String(), pl.Categorical(), pl.Enum(["train", "test"])], ids=str)
def test_a_split_may_be_a_category(kind: Any, tmp_path: Path) -> None:
    parts = pl.Series("split", ["train", "train", "train", "test"] * (NUM_ROWS // 4), dtype=kind)
    pl.DataFrame(table()).with_columns(parts).write_parquet(tmp_path / "t.parquet")
    found = {column.columns[0]: column for column in propose(tmp_path / "t.parquet").columns}
    assert (found["split"].what, found["split"].why) == ("split", "train 18, test 6")


def test_a_group_keeps_to_its_split_or_is_none(tmp_path: Path) -> None:
    speakers = [f"s{row // 3}" for row in range(NUM_ROWS)]
    assert proposed(tmp_path / "mine", table(speaker=speakers))["columns"]["group"] == "speaker"


def test_classes_that_have_a_folder_each_are_the_label(tmp_path: Path) -> None:
    moods = ["sad", "glad"] * (NUM_ROWS // 2)
    photos = [f"{mood}/{row}.jpg" for row, mood in enumerate(moods)]
    for row, photo in enumerate(photos):
        write_jpg(tmp_path / "mine" / photo, row)
    columns = {"emotion": moods, "photo": photos, "part": ["faces"] * NUM_ROWS, "note": ["one more word"] * NUM_ROWS}
    write_jpg(tmp_path / "mine/faces/0.jpg", 0)
    found = proposed(tmp_path / "mine", columns)
    assert found["columns"] == {"label": "emotion"}
    assert {name: kind["name"] for name, kind in found["kinds"].items()} == {"photo": "image", "note": "text"}


def test_lists_that_say_nothing_are_no_modality_and_stop_nothing(tmp_path: Path) -> None:
    lists = {"ragged": "[[1, 2], [3]]", "empty": "[]", "steps": "[[], []]"}
    columns = table(**{name: [text] * NUM_ROWS for name, text in lists.items()})
    columns |= {"bytes": [*["[1, 2, 3]"] * (NUM_ROWS - 1), "[]"]}
    kinds = proposed(tmp_path / "mine", columns)["kinds"]
    assert set(kinds) == {"a", "spoken", "bytes"}
    assert kinds["bytes"] == {"name": "features", "size": 3}


def test_a_column_that_is_read_for_its_name_says_so(tmp_path: Path) -> None:
    part = ["train", "train", "val", "val", "test", "test"] * (NUM_ROWS // 6)
    twice = [f"s{row // 3}" for row in range(NUM_ROWS)]
    (tmp_path / "mine").mkdir()
    for more, name, why in (
        ({"part": part, "group": twice}, "group", "one is in two splits"),
        ({"id": twice}, "id", "a value is there twice"),
        ({"split": ["a", "b", "c"] * (NUM_ROWS // 3)}, "split", "none of train, validation and test"),
    ):
        pl.DataFrame(table(**more)).write_csv(tmp_path / "mine/t.csv")
        found = propose(tmp_path / "mine/t.csv", label="answer")
        (column,) = (column for column in found.columns if column.columns == [name])
        assert column.what == name and why in column.why and "rename" in column.why
    assert "speaker   -  " in _explained(tmp_path, table(part=part, speaker=twice)), "no name that a role has"


def _explained(folder: Path, columns: dict[str, list[Any]]) -> str:
    pl.DataFrame(columns).write_csv(folder / "mine/t.csv")
    return propose(folder / "mine/t.csv").explained


def test_whole_numbers_are_left_out_and_how_to_take_them_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    more = {"age": [20 + row for row in range(NUM_ROWS)], "steps": [row % 20 for row in range(NUM_ROWS)]}
    text = _explained(tmp_path, table(**more))
    assert max(map(len, text.splitlines()[1:])) <= 80
    for name in more:
        assert re.search(rf"^{name} +-  +whole numbers, which may be codes; kept", text, re.M)
    added = yaml.safe_load(text.partition("add them:\n")[2])
    assert added["columns"]["counts"] == [*more]
    found = propose(tmp_path / "mine/t.csv").preprocess
    data = DATASETS.build({**found, **{key: {**found[key], **added[key]} for key in added}})
    assert list(data.modalities) == ["a", "spoken", "counts"]
    assert "Whole numbers" not in _explained(tmp_path, table())


@pytest.mark.parametrize("root", ["data/../data/mine", "../{here}/data/mine"])
def test_a_path_that_goes_up_and_down_again_is_the_same_path(root: str, here: Path) -> None:
    shutil.copytree("data/example", "data/mine")
    root = root.format(here=here.name)
    found = propose(Path("data/mine/pairs.csv"), root=Path(root))
    assert (found.raw, found.preprocess["root"]) == ("data/mine", root)
    assert run("data/mine/pairs.csv", "--root", root, "--save").exit_code == 0
    assert load(Path("params.yaml")).raw == "data/mine"


def test_long_names_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    sides = {
        f"what_was_said_in_the_long_run_on_the_{side}": ["one more word"] * NUM_ROWS for side in ("left", "right")
    }
    lines = _explained(tmp_path, table(**sides)).splitlines()[2:]
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines if " text " in line} >= {
        "what_was_sa...un_on_the_left", "what_was_sa...n_on_the_right",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "follow"), [(["b1", "b2", "b3"], True), (["b01", "b02", "b03"], True), (["b1", "b02", "b3"], False)]
)
def test_numbered_columns_are_one_modality_where_their_names_follow_each_other(
    names: list[str], follow: bool, tmp_path: Path
) -> None:
    found = proposed(tmp_path / "mine", table(**{name: [f"{row}.5" for row in range(NUM_ROWS)] for name in names}))
    assert (f"{names[0]}..{names[2]}" in str(found)) == follow
    assert examine(DATASETS.build(found), tmp_path / "packed").findings == []


def test_whole_numbers_up_to_255_are_a_picture_of_any_type(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (NUM_ROWS, 9, 9))
    (tmp_path / "mine").mkdir()
    labels = np.array(["a", "b"] * (NUM_ROWS // 2))
    np.savez(
        tmp_path / "mine/t.npz",
        label=labels,
        photo=pictures,
        sound=np.random.default_rng(1).normal(size=(NUM_ROWS, 4)),
    )
    found = propose(tmp_path / "mine/t.npz")
    assert found.preprocess["kinds"]["photo"]["name"] == "image"
    dataset = DATASETS.build(found.preprocess)
    assert examine(dataset, tmp_path / "packed").findings == []


def test_an_empty_cell_asks_for_a_mask(tmp_path: Path) -> None:
    assert proposed(tmp_path / "mine", table())["missing"] == "refuse"
    spoken = [None if row == 5 else f"well now {row} words" for row in range(NUM_ROWS)]
    assert proposed(tmp_path / "mine", table(spoken=spoken))["missing"] == "mask"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            table(mood=["a", "b", "c"] * (NUM_ROWS // 3)),
            r"several columns may be the label; say which one with --label COLUMN\n  answer: 2 classes: no, yes\n"
            r"  mood: 3 classes: a, b, c",
        ),
        (table(target=["x", "y"] * (NUM_ROWS // 2), y=["x", "y"] * (NUM_ROWS // 2)), r"  target: .*\n  y: "),
        ({"a0": [0.5] * 6, "spoken": ["one two three"] * 6}, "no column seems to be the label .*--label COLUMN"),
        ({"label": ["a", "b"] * 3, "spoken": ["one two three"] * 6}, "two modalities are needed, and .*: spoken"),
        (table(photo=[f"{row}.jpg" for row in range(NUM_ROWS)]), "'0.jpg' of the column 'photo' is no file .*--root"),
    ],
)
def test_what_is_not_clear_is_asked(columns: dict[str, list[Any]], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        proposed(tmp_path / "mine", columns)


def test_the_label_that_is_named_is_taken(tmp_path: Path) -> None:
    columns = table(mood=["a", "b", "c"] * (NUM_ROWS // 3))
    assert proposed(tmp_path / "mine", columns, label="mood")["columns"]["label"] == "mood"
    with pytest.raises(InputError, match="unknown column 'mod'; did you mean 'mood'"):
        proposed(tmp_path / "mine", columns, label="mod")


def test_a_table_beside_the_results_is_to_be_moved(here: Path) -> None:
    pl.DataFrame(table()).write_csv("t.csv")
    done = run("t.csv")
    assert done.exit_code == 2
    assert "into a folder of their own, such as data/mine" in done.stderr


def test_a_root_that_is_not_there_is_named(here: Path) -> None:
    done = run("data/example/pairs.csv", "--root", "data/exmaple")
    assert done.exit_code == 2
    assert done.stderr.startswith("error: --root data/exmaple: no such folder in ")


@pytest.mark.parametrize("form", [as_shards, as_saved])
def test_shards_and_saved_data_sets(form: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    given = form(tmp_path / "mine")
    found = propose(Path(given["file"])).preprocess
    assert {name: kind["name"] for name, kind in found["kinds"].items()} == {"audio": "audio", "image": "image"}
    assert found.get("columns", {}) == given.get("columns", {})
    assert examine(DATASETS.build(found), tmp_path / "packed").findings == []


def test_the_next_command_can_be_copied(here: Path) -> None:
    (here / "data/mine").mkdir()
    as_shards(here / "data/mine")
    done = run("data/mine/{train,validation,test}-*.tar", "--label", "label")
    last = done.output.strip().splitlines()[-1]
    assert last == "bss init 'data/mine/{train,validation,test}-*.tar' --label label --save"


def test_arrays(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    faces = draw.integers(0, 256, (NUM_ROWS, 9, 9, 3), dtype=np.uint8)
    walk, votes = draw.normal(size=(NUM_ROWS, 6, 2)), draw.normal(size=(NUM_ROWS, 4))
    (tmp_path / "mine").mkdir()
    np.savez(tmp_path / "mine/t.npz", target=np.arange(NUM_ROWS) % 3, faces=faces, walk=walk, votes=votes)
    found = propose(tmp_path / "mine/t.npz").preprocess
    assert found["kinds"] == {
        "faces": {"name": "image", "size": 9},
        "walk": {"name": "sequence", "length": 6, "size": 2},
        "votes": {"name": "features", "size": 4},
    }
    assert examine(DATASETS.build(found), tmp_path / "packed").findings == []
