"""`bss preset`: what a preset changes, what stays, and what is refused before anything is written."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from bss.__main__ import app
from bss.data.datasets.dataset import DATASETS
from bss.encoders.encoder import ENCODERS
from bss.errors import InputError
from bss.params import load
from bss.preset import apply, known, store
from tests.helpers import ROOT

PRESETS = ROOT / "presets"
NAMES = known(PRESETS)
COMMITTED = (ROOT / "params.yaml").read_text()


def overlay(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    return found


def usable(name: str) -> None:
    for encoder in overlay(name)["encoders"].values():
        if encoder["name"] not in ENCODERS:
            pytest.skip(f"{name} needs the encoder {encoder['name']}, which is not here")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BSS_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "params.yaml").write_text(COMMITTED)
    (tmp_path / "presets").symlink_to(PRESETS)
    return tmp_path / "params.yaml"


def comments(text: str) -> list[str]:
    return [line.partition("#")[2].strip() for line in text.splitlines() if "#" in line]


def keys(values: Any, depth: int) -> set[str]:
    if depth == 0 or not isinstance(values, dict):
        return {""}
    return {f"{key}.{below}" for key, inner in values.items() for below in keys(inner, depth - 1)}


def test_there_are_two_of_each_published_data_set() -> None:
    names = {"cremad", "kinetics_sounds", "vggsound", "twitter2015", "sarcasm", "nvgesture"}
    assert set(NAMES) == {f"{name}-{kind}" for name in names for kind in ("published", "recommended")}


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_valid_and_the_comments_stay(path: Path, name: str) -> None:
    usable(name)
    done = CliRunner().invoke(app, ["preset", name])
    assert done.exit_code == 0, done.output
    params, wanted = load(path), overlay(name)
    assert f"preprocess.name: digits -> {params.preprocess.name}" in done.output
    assert set(params.encoders) == set(params.preprocess.modalities)
    raw = yaml.safe_load(path.read_text())
    assert (raw["preprocess"], raw["encoders"]) == (wanted["preprocess"], wanted["encoders"])
    for section in ("warmup", "train", "evaluate", "grid"):
        assert raw[section] == yaml.safe_load(COMMITTED)[section] | wanted[section]
    kept = comments(path.read_text())
    gone = [comment for comment in comments(COMMITTED) if comment not in kept]
    about_digits = ("share of training pairs", "of the pairing and the damage")
    assert all(comment.startswith(about_digits) for comment in gone)
    assert apply(name, path) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_data_set_of_a_preset_takes_its_fields(name: str) -> None:
    assert DATASETS.build(overlay(name)["preprocess"]).name == name.rpartition("-")[0]


def test_one_preset_over_another_leaves_nothing_of_it(path: Path) -> None:
    assert len({frozenset(keys({**overlay(name), "preprocess": 0, "encoders": 0}, 2)) for name in NAMES}) == 1
    apply("cremad-published", path)
    apply("kinetics_sounds-recommended", path)
    twice = yaml.safe_load(path.read_text())
    path.write_text(COMMITTED)
    apply("kinetics_sounds-recommended", path)
    assert yaml.safe_load(path.read_text()) == twice


def test_an_unknown_name_is_answered_with_the_known_ones(path: Path) -> None:
    for name in ("cremad-publishd", "../presets/cremad-published"):
        done = CliRunner().invoke(app, ["preset", name])
        assert done.exit_code == 2
        assert f"unknown preset '{name}'" in done.output
        assert "known: cremad-published, cremad-recommended" in done.output
    assert path.read_text() == COMMITTED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epoch: 3}", "train: unknown key 'epoch'; did you mean 'epochs'?"),
        ("preprocess: {name: cremad, split: actors}", "preprocess.split: 'actors'"),
        ("train: {epochs: 400}", "curriculum.epochs: 100 epochs of sequences are laid out"),
        ("encoders: {video: {name: resnet18}}", "encoders: unknown name 'video' (known: audio, image)"),
        ("3", "expected keys with values"),
    ],
)
def test_what_would_not_be_valid_is_not_written(path: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/wrong.yaml").write_text(text)
    with pytest.raises(ValueError, match="wrong.yaml") as error:
        apply("wrong", path, tmp_path / "own")
    assert message in str(error.value)
    assert path.read_text() == COMMITTED


def test_without_a_parameter_file_it_says_so(path: Path) -> None:
    path.unlink()
    done = CliRunner().invoke(app, ["preset", "cremad-published"])
    assert done.exit_code == 2
    assert "no such file" in done.output


def test_values_at_dotted_keys_are_written_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text()
    path.write_text(before)
    values = {"train.lr": 0.004, "preprocess.damage": 0.2, "grid.seeds": [0, 1], "augment.image": {"crop": 0.2}}
    assert store(values, path)[0] == "preprocess.damage: 0.4 -> 0.2"
    after = path.read_text()
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert (
        changed[0]
        == "  damage: 0.2               # share of training pairs in which one modality contradicts the label"
    )
    assert "  seeds: [0, 1]" in changed
    with pytest.raises(InputError, match="train.lr: 'fast': Input should be a valid number"):
        store({"train.lr": "fast"}, path)
    assert path.read_text() == after
