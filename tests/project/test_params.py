"""params.yaml: what is wrong is refused at once, with the key, the value and what would be right."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bss.errors import InputError
from bss.params import Params, load
from bss.parsing import checked
from bss.registry import Registry
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS, Method
from bss.training.methods.ogm import OGM
from tests.helpers import ROOT

GOOD = yaml.safe_load((ROOT / "params.yaml").read_text())


def changed(tmp_path: Path, key: str, value: Any) -> Path:
    raw = yaml.safe_load(yaml.safe_dump(GOOD))
    *above, last = key.split(".")
    section = raw
    for name in above:
        section = section[name]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def test_the_committed_file_is_good() -> None:
    params = load(ROOT / "params.yaml")
    assert params.preprocess.name == "digits"
    assert params.grid.schedulers[0] == "random"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epoch", 3, "train: unknown key 'epoch'; did you mean 'epochs'?"),
        ("trian", {}, "unknown key 'trian'; did you mean 'train'?"),
        ("train.epochs", ..., "train.epochs: is missing"),
        ("train.epochs", -1, "train.epochs: -1: Input should be greater than or equal to 1"),
        ("train.epochs", "3", "train.epochs: '3': Input should be a valid integer"),
        ("train.epochs", 2.5, "train.epochs: 2.5: Input should be a valid integer"),
        ("train.lr", 0, "train.lr: 0: Input should be greater than 0"),
        ("train.lr", float("nan"), "train.lr: nan"),
        ("train.lr", True, "train.lr: True"),
        ("train.optimizer", "adam", "train.optimizer: 'adam': Input should be 'adamw' or 'sgd'"),
        ("train.epochs", 99, "curriculum.epochs: 100 epochs of sequences are laid out, but warmup.epochs"),
        ("preprocess.name", "digit", "preprocess: unknown data set 'digit'; did you mean 'digits'?"),
        ("preprocess.damage", 2.0, "preprocess.damage: 2.0"),
        ("preprocess.damge", 0.1, "preprocess: unknown key 'damge'; did you mean 'damage'?"),
        ("preprocess", ..., "preprocess: is missing"),
        ("preprocess", 3, "preprocess: a data set is a name, or a mapping with the key 'name'"),
        ("ci.max_drop", -0.5, "ci.max_drop: -0.5: Input should be greater than or equal to 0"),
        ("encoders", {"sound": {"name": "mlp"}}, "encoders: unknown name 'sound' (known: audio, image)"),
        ("encoders", {"audio": {"name": "mpl"}}, "encoders.audio: unknown encoder 'mpl'; did you mean 'mlp'?"),
        ("encoders", {"audio": {"name": "mlp", "width": 0}}, "encoders.audio.width: 0"),
        ("score.criteria", ["loss"], "score.criteria: unknown balance criterion 'loss'"),
        ("score.others", ["entrpy"], "score.others: unknown balance criterion 'entrpy'; did you mean 'entropy'?"),
        (
            "curriculum.schedulers.learned.criteria",
            ["entropy"],
            "curriculum.schedulers.learned.criteria: ['entropy'] are not measured; add them to score.others",
        ),
        ("score.criteria", [], "score.criteria: a balance score needs at least one criterion"),
        ("score.criteria", ["training_loss"] * 2, "lists one thing twice"),
        ("curriculum.schedulers.heuristic.pacing", "rot", "unknown pacing 'rot'; did you mean 'root'?"),
        ("curriculum.schedulers.learned.beta", 1.5, "curriculum.schedulers.learned.beta: 1.5"),
        ("grid.schedulers", ["heuristic"], "grid.schedulers: 'random' is missing"),
        ("grid.schedulers", ["random", "lerned"], "grid.schedulers: unknown name 'lerned'; did you mean 'learned'"),
        ("grid.seeds", [1, 1], "grid.seeds: [1, 1] lists one thing twice"),
        ("grid.seeds", [2**40], "grid.seeds.0: 1099511627776"),
        ("grid.methods", ["joint", "unimodal"], "grid.methods: 'unimodal' has stages of its own"),
        ("methods.unimodal", {"name": "joint"}, "methods.unimodal.name: 'joint', but the others are compared with"),
        ("methods.joint-anti", {"name": "joint"}, "methods.joint-anti"),
        ("methods.warmup", {"name": "joint"}, "methods: 'warmup' is the training before all others"),
        ("methods", None, "methods: None: Input should be a valid dictionary"),
        ("methods.joint", {"name": "joint", "fused_weight": 0.0, "unimodal_weight": 0.0}, "nothing would be trained"),
        ("curriculum.schedulers.random", {"name": "heuristic"}, "curriculum.schedulers.random.name: 'heuristic'"),
        ("train.batch_size", 1, "train.batch_size: 1: Input should be greater than or equal to 2"),
        ("grid.seeds", [-1], "grid.seeds.0: -1"),
        ("grid.methods", ["joined"], "grid.methods: unknown name 'joined'; did you mean 'joint'?"),
        ("runtime.device", "gpu", "runtime.device: 'gpu': Input should be 'auto', 'cpu' or 'cuda'"),
        ("evaluate.rule", "mean", "evaluate.rule: 'mean': Input should be 'fused', 'sum', 'sum_all' or 'weighted'"),
        ("fusion", ..., "fusion: is missing"),
        ("fusion", {"name": "gated", "width": 0}, "fusion.width: 0"),
        ("encoders", {"audio": {"name": "huggingface"}}, "encoders.audio.model: is missing"),
        ("flow.max_parallel", 0, "flow.max_parallel: 0"),
        ("runtime.threads", "all", "runtime.threads: 'all': expected a whole number of at least 1, or auto"),
        ("runtime.precision", "half", "runtime.precision: 'half': Input should be 'auto', 'float32' or 'bfloat16'"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_key_and_value(tmp_path: Path, key: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match="params.yaml: ") as error:
        load(changed(tmp_path, key, value))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_method_that_cannot_be_spread_is_named(tmp_path: Path) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["spread"] |= {"devices": 2, "strategy": "fsdp"}
    raw["grid"]["methods"] = ["joint", "ogm"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ValueError, match="'fsdp', but several processes can share the method 'ogm' .* by ddp alone"):
        load(path)
    raw["grid"]["methods"] = ["joint"]
    path.write_text(yaml.safe_dump(raw))
    assert load(path).spread.strategy == "fsdp"


def test_a_scheduler_follows_the_score_of_the_file_unless_it_names_its_own(tmp_path: Path) -> None:
    path = changed(tmp_path, "score", {"criteria": ["training_loss"], "others": ["entropy"]})
    raw = yaml.safe_load(path.read_text())
    raw["curriculum"]["schedulers"]["learned"]["criteria"] = ["entropy"]
    path.write_text(yaml.safe_dump(raw))
    schedulers = load(path).curriculum.schedulers
    assert schedulers["learned"].criteria == ("entropy",)
    assert {scheduler.criteria for name, scheduler in schedulers.items() if name != "learned"} == {("training_loss",)}


def test_a_method_that_the_file_does_not_name_is_there_with_its_defaults(tmp_path: Path) -> None:
    params = load(changed(tmp_path, "methods", {"ogm": {"name": "ogm", "alpha": 0.8}, "gentle": {"name": "ogm"}}))
    assert set(params.methods) == {*METHODS, "gentle"}
    assert params.methods["ogm"] == OGM(alpha=0.8)
    assert params.methods["gentle"] == OGM()
    for name in set(METHODS) - {"ogm"}:
        assert params.methods[name] == METHODS[name]()


def test_a_method_whose_field_has_no_default_is_there_where_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy(Method):
        steps: int

    known = {"joint": Joint, "needy": Needy}
    monkeypatch.setattr(Registry, "__iter__", lambda _: iter(known))
    monkeypatch.setattr(Registry, "__getitem__", lambda _, name: known[name])
    assert METHODS.every({}) == {"joint": {"name": "joint"}}
    assert METHODS.every({"mine": {"name": "needy", "steps": 3}}) == {
        "mine": {"name": "needy", "steps": 3},
        "joint": {"name": "joint"},
    }


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (["seed", "face"], "a modality is called 'seed', as a column of the project is"),
        (["prediction", "face"], "a modality is called 'prediction', as a metric of the project is"),
        (["face_present", "face"], "'face_present', as what belongs to 'face' of the project is; take another name"),
        (["face", "face_probabilities"], "'face_probabilities', as what belongs to 'face'"),
        (["voice", "voice_duration"], "'voice_duration', as what belongs to 'voice'"),
        (["face_duration", "face"], ""),
    ],
)
def test_a_modality_is_called_as_nothing_else_is(kinds: list[str], message: str) -> None:
    voice = {"name": "audio", "sample_rate": 8000, "seconds": 1.0, "n_fft": 64, "hop_length": 32, "length": "pad"}
    described = {name: voice if name == "voice" else {"name": "image", "size": 8} for name in kinds}
    data = {"name": "manifest", "file": "data/a.csv", "kinds": described}
    raw = {**GOOD, "raw": "data", "preprocess": data, "encoders": {}, "augment": {}}
    if not message:
        assert list(checked(raw, Params, Path("params.yaml")).preprocess.modalities) == kinds
        return
    with pytest.raises(InputError, match=re.escape(message)):
        checked(raw, Params, Path("params.yaml"))


@pytest.mark.parametrize("text", ["1e-05", "1E-5", "1.0e-05", "0.00001", "+1e-5", ".1e-4"])
def test_a_number_may_be_written_as_dvc_does(tmp_path: Path, text: str) -> None:
    path = changed(tmp_path, "train.lr", "LR")
    path.write_text(path.read_text().replace("lr: LR", f"lr: {text}"))
    assert load(path).train.lr == 1e-5


def test_every_fault_has_a_line_of_its_own(tmp_path: Path) -> None:
    path = changed(tmp_path, "train.epochs", 0)
    path.write_text(path.read_text().replace("max_parallel: auto", "max_parallel: 0"))
    with pytest.raises(ValueError, match="params.yaml") as error:
        load(path)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["a: [", "\t- x", "", "3", "!!python/object/apply:os.getcwd []"])
def test_what_is_not_a_mapping_of_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match="params.yaml"):
        load(tmp_path / "params.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere.yaml: no such file"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("key", ["preprocess.name", "train.epochs", "encoders"])
def test_nothing_heavy_is_imported_before_a_fault_is_told(tmp_path: Path, key: str) -> None:
    changed(tmp_path, key, "wrong")
    heavy = "{'torch', 'polars', 'sklearn', 'scipy', 'matplotlib', 'prefect', 'dvc', 'soundfile'}"
    program = (
        "import sys; from pathlib import Path; from bss.params import load\n"
        "try: load(Path('params.yaml'))\n"
        f"except ValueError as error: print(error, {heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "wrong" in done.stdout
    assert done.stdout.rstrip().endswith("set()")
