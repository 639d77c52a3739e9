"""A study: rows from varied schedulers, and params.yaml with them in it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bss.params import Params
from bss.parsing import checked, read_mapping, setting
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS
from bss.training.methods.ogm import OGM
from flows.graph.plan import Planned
from flows.studies.flow import _joined
from flows.studies.study import FOLDER, Overlay, Study, find, overlaid
from flows.studies.study_run import StudyRun, composed, composed_each, suited
from flows.studies.workspaces import workspaces
from tests.helpers import ROOT

FILE = read_mapping(ROOT / "params.yaml")
RAW = FILE | {"methods": METHODS.every(FILE["methods"])}
STUDIES = sorted((ROOT / FOLDER).glob("*.yaml"))
PLACES = sorted((ROOT / FOLDER / "on").glob("*.yaml"))


def study(**values: Any) -> Study:
    return Study.model_validate({"about": "A test.", "seeds": 2, **values})


def run_of(study: Study, raw: dict[str, Any]) -> StudyRun:
    """The study on these parameters."""
    raw = study.parameters(raw)
    params = checked(raw, Params, Path("study.yaml"))
    return StudyRun(
        name="test", study=study, params=params, raw=raw, about=(study.about,), command="bss compare test"
    )


def raw_on(place: Path) -> dict[str, Any]:
    return overlaid(RAW, checked(read_mapping(place), Overlay, place).params)


@pytest.mark.parametrize("place", PLACES, ids=lambda path: path.stem)
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_fits_every_data_set(path: Path, place: Path) -> None:
    given, raw = checked(read_mapping(path), Study, path), raw_on(place)
    if given.leave_out:
        given, _ = suited(given, raw, path)
    run = run_of(given, raw)
    assert run.params.grid.schedulers == [variant.name for variant in given.variants()]
    assert len(run.params.grid.seeds) >= 10, "an expected gain needs ten paired seeds"
    assert (run.tuning() is not None) is given.tune


def test_methods_that_the_data_cannot_be_used_with_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = composed("methods", "emoji_imgtext", command="bss compare")
    assert not {"aim", "mwam"} & {*run.choices}
    assert "ogm" in run.choices
    (first, second) = (sentence for sentence in run.about if sentence.startswith("Left out: "))
    assert first.startswith("Left out: aim. Aim learns inputs of two modalities or more, and words (text)")
    assert second.startswith("Left out: mwam. Mwam compares the spectra")
    assert {"aim", "mwam"} <= {*composed("methods", "avdigits", command="bss compare").choices}


def test_one_that_is_not_to_be_left_out_is_refused() -> None:
    raw = raw_on(ROOT / FOLDER / "on/emoji_imgtext.yaml")
    with pytest.raises(ValueError, match=r"grid.methods: 'aim' cannot be used with these data: aim learns"):
        run_of(study(methods=["joint", "aim"], schedulers={"random": {}}), raw)


def test_seeds_and_folds_are_crossed() -> None:
    table = {"name": "manifest", "file": "data/sample/pairs.csv", "kinds": {n: {"name": "features"} for n in "ab"}}
    run = run_of(study(schedulers={"random": {}, "learned": {}}, folds=3), RAW | {"preprocess": table})
    assert run.repeats == [(seed, fold) for fold in range(3) for seed in range(2)]
    of_last = run.of(run.repeats[-1])
    assert of_last["preprocess"] == table | {"folds": 3, "fold": 2}
    assert of_last["grid"]["seeds"] == [1]
    assert len({workspace.folder for workspace in workspaces(run).values()}) == 6
    plans = {
        repeat: [Planned("preprocess", (), True, ("preprocess",), Path(str(repeat))),
                 Planned("score@0", ("preprocess",), True, ("score@0",), Path(str(repeat))),
                 Planned("train@joint-random-0", ("score@0",), True, ("train@joint-random-0",), Path(str(repeat)))]
        for repeat in run.repeats
    }  # fmt: skip
    joined = {planned.name: planned for planned in _joined(plans)}
    assert len(joined) == 3 + 6 + 6 - 3, "the cells of two seeds of a fold have one name here"
    assert joined["data, fold 1"].folder == Path("seed 0, fold 1")
    assert joined["seed 1, fold 2"].upstream == ("data, fold 2",)


def test_the_people_of_utd_mhad_are_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    run = composed("schedulers", "utd_mhad", command="bss compare schedulers", folds=8, seeds=2)
    assert [run.of(repeat)["preprocess"] for repeat in run.repeats[::2]] == [
        {"name": "utd_mhad", "folds": 8, "fold": fold} for fold in range(8)
    ]


def test_a_data_set_without_folds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValueError, match="folds: preprocess: unknown key 'folds'"):
        composed("schedulers", None, command="bss compare schedulers --folds 3", folds=3)


def test_a_study_is_run_for_each_combination_of_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    runs = composed_each("damage", "avdigits", command="bss compare damage", seeds=2)
    assert len(runs) == len({run.name for run in runs}) == 20
    assert runs[6].name == "damage-avdigits-damage_kind_noise-damage_0_1"
    assert runs[6].raw["preprocess"] == {"name": "avdigits", "damage_kind": "noise", "damage": 0.1}
    assert runs[6].about[-1] == 'preprocess.damage_kind="noise", preprocess.damage=0.1.'
    assert [run.params.grid.seeds for run in runs] == [[0, 1]] * 20


def test_a_value_that_is_given_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    given = ["preprocess.damage_kind=blank", "train.epochs=3"]
    runs = composed_each("damage", "avdigits", command="bss compare damage", settings=given, name="mine")
    assert [run.raw["preprocess"]["damage"] for run in runs] == [0.0, 0.1, 0.2, 0.4, 0.6]
    assert {run.raw["preprocess"]["damage_kind"] for run in runs} == {"blank"}
    assert {run.params.train.epochs for run in runs} == {3}
    assert runs[0].name == "mine-damage_kind_blank-damage_0_0"
    given = ["preprocess.damage=0.2", "preprocess.damage_kind=noise"]
    (run,) = composed_each("order", "avdigits", command="bss compare order", settings=given)
    assert run == composed("order", "avdigits", command="bss compare order", settings=given)
    assert run.raw["preprocess"] == {"name": "avdigits", "damage": 0.2, "damage_kind": "noise"}


def test_a_wrong_value_of_each_is_refused_before_the_first_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "wrong.yaml").write_text(
        yaml.safe_dump(
            {"about": "x", "seeds": 1, "schedulers": {"random": {}}, "each": {"preprocess.damage": [0.1, 2]}}
        )
    )
    with pytest.raises(ValueError, match=r"preprocess\.damage: 2"):
        composed_each(str(tmp_path / "wrong.yaml"), "avdigits", command="bss compare wrong")
    with pytest.raises(ValueError, match=r"preprocess\.damage_kind: .*'nose'"):
        composed_each("damage", "avdigits", command="x", settings=["preprocess.damage_kind=nose"])


def test_values_are_combined_and_everything_else_stays() -> None:
    given = study(schedulers={"random": {}, "heuristic": {"pacing.start": [0.2, 0.3], "anti": [False, True]}})
    raw = given.parameters(RAW)
    assert raw["grid"] == {
        "seeds": [0, 1],
        "methods": ["joint"],
        "schedulers": [
            "random",
            *(f"heuristic-start_0_{tenth}-anti_{anti}" for tenth in (2, 3) for anti in ("false", "true")),
        ],
    }
    row = raw["curriculum"]["schedulers"]["heuristic-start_0_3-anti_true"]
    assert row == {
        **RAW["curriculum"]["schedulers"]["heuristic"],
        "pacing": {"name": "root", "start": 0.3},
        "anti": True,
    }
    assert {key: value for key, value in raw.items() if key not in ("grid", "curriculum")} == {
        key: value for key, value in RAW.items() if key not in ("grid", "curriculum")
    }
    assert read_mapping(ROOT / "params.yaml") == FILE, "what was given is not changed"


def test_criteria_of_rows_are_measured() -> None:
    given = study(schedulers={"random": {}, "learned": {"criteria": [["entropy"], ["entropy", "training_loss"]]}})
    raw = given.parameters(RAW)
    assert raw["score"]["others"] == ["entropy"]
    checked(raw, Params, Path("study.yaml"))


def test_the_same_row_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="learned-beta_0_1 comes twice"):
        study(schedulers={"learned": {"beta": [0.1, "0-1"]}}).variants()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"schedulers": {"lerned": {}}}, "unknown scheduler 'lerned'; did you mean 'learned'"),
        (
            {"schedulers": {"random": {}}, "params": {"train.epoch": 3}},
            "unknown key 'train.epoch'; did you mean 'train.epochs'",
        ),
        ({"schedulers": {"random": {}}, "params": {"trian.epochs": 3}}, "unknown key 'trian'; did you mean 'train'"),
    ],
)
def test_an_unknown_name_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(**values).parameters(RAW)


def test_an_unknown_field_of_a_row_is_refused() -> None:
    raw = study(schedulers={"random": {}, "learned": {"bta": [0.1]}}).parameters(RAW)
    with pytest.raises(
        ValueError, match="curriculum.schedulers.learned-bta_0_1: unknown key 'bta'; did you mean 'beta'"
    ):
        checked(raw, Params, Path("study.yaml"))


def test_a_method_is_chosen_on_validation_in_the_baselines_order() -> None:
    given = study(methods=["joint", "ogm", "fused_only"], tune=True, schedulers={"random": {}, "learned": {}})
    run = run_of(given, RAW)
    tuning = run.tuning()
    assert tuning is not None
    tried = [f"joint_unimodal_weight_{value}" for value in ("0_5", "1_0", "2_0")]
    tried += [f"ogm_alpha_{value}" for value in ("0_1", "0_3", "0_8")]
    assert tuning.raw["grid"] == {"seeds": [0, 1], "methods": tried, "schedulers": ["random"]}
    assert tuning.params.methods["ogm_alpha_0_8"] == OGM(alpha=0.8)
    accuracies = dict(zip(tried, (0.7, 0.9, 0.9, 0.5, 0.4, 0.6), strict=True))
    chosen = run.tuned(accuracies)
    assert chosen.raw["grid"] == {
        "seeds": [0, 1],
        "methods": ["joint_unimodal_weight_1_0", "ogm_alpha_0_8", "fused_only"],
        "schedulers": ["random", "learned"],
    }
    assert chosen.params.methods["joint_unimodal_weight_1_0"] == Joint()
    sentence = "Chosen on validation, in the order of random, with 2 seeds: joint_unimodal_weight_1_0, ogm_alpha_0_8"
    assert chosen.about[0] == "A test." and chosen.about[1].startswith(sentence)
    assert run.raw == given.parameters(RAW), "what was given is not changed"
    by_one = run_of(given.model_copy(update={"tune_seeds": 1}), RAW)
    tuning = by_one.tuning()
    assert tuning is not None
    assert tuning.raw["grid"]["seeds"] == [0] and by_one.tuned(accuracies).raw["grid"]["seeds"] == [0, 1]
    assert run_of(study(methods=["joint"], schedulers={"random": {}}), RAW).tuning() is None
    with pytest.raises(ValueError, match="unknown name 'ogn'; did you mean 'ogm'"):
        run_of(study(methods=["ogn"], schedulers={"random": {}}), RAW)


def test_a_run_is_a_parameter_of_a_flow_and_stays_what_it_is() -> None:
    from flows.studies.flow import compare

    run = run_of(study(schedulers={"random": {}}), RAW)
    parameters = compare.validate_parameters({"run": run})
    assert parameters["run"] is run
    assert json.loads(json.dumps(compare.serialize_parameters(parameters)))["run"]["raw"] == run.raw


def test_a_setting_is_a_key_and_a_value_in_yaml() -> None:
    assert setting("train.epochs=20") == ("train.epochs", 20)
    assert setting("preprocess={name: avdigits, damage: 0.4}") == ("preprocess", {"name": "avdigits", "damage": 0.4})
    for wrong in ("train.epochs", "=3", "a b=3", "x=[1"):
        with pytest.raises(ValueError, match="expected key=value|no YAML"):
            setting(wrong)


def test_a_study_is_found_by_its_name_or_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"about": "x"}))
    assert find("mine", tmp_path) == find(str(tmp_path / "mine.yaml"), Path("nowhere")) == tmp_path / "mine.yaml"
    with pytest.raises(ValueError, match="unknown comparison 'mien'; did you mean 'mine'"):
        find("mien", tmp_path)


@pytest.mark.parametrize("document", ["README.md", "docs/comparing.md", "docs/results.md"])
def test_the_commands_of_the_documents_name_studies_that_are_there(document: str) -> None:
    commands = re.findall(r"bss compare (\w+)(?: --on ([\w-]+))?", (ROOT / document).read_text())
    assert commands
    for study, place in commands:
        assert find(study, ROOT / FOLDER) in STUDIES
        assert not place or find(place, ROOT / FOLDER / "on") in PLACES
