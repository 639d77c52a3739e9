"""An interrupted training goes on and ends as one that never was."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.matched import Matched
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.curriculum.schedulers.self_paced import SelfPaced
from bss.data.packed import PackedSplit
from bss.evaluation.judging.judgement import judge
from bss.params import Params
from bss.parsing import checked, read_mapping
from bss.paths import Workspace
from bss.training import weights
from bss.training.checkpoint import Checkpoints, checkpoints_of, key
from bss.training.divergence import explained
from bss.training.loader import batches
from bss.training.loop import warm_up
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS
from bss.training.runtime import Runtime
from bss.training.settings import Warmup
from bss.training.trainer import NotFinite, StepRecord, Trainer
from bss.types import Split
from tests.helpers import ROOT
from tests.helpers.killed import (
    EPOCHS,
    STEPS,
    Deadly,
    Killed,
    expect_resumed,
    killed_after,
    model_with_chance,
    outcome,
)
from tests.helpers.steps import Splits
from tests.helpers.toy import SETTINGS, packed_toy

SCHEDULERS: dict[str, Scheduler] = {
    "random": Random(),
    "heuristic": Heuristic(grow_epochs=2),
    "pass": Learned(),
    "online": Learned(score_update="online"),
    "mixed": Learned(score_update="mixed", refresh_every=2),
    "self-paced": SelfPaced(grow_epochs=2),
    "matched": Matched(),
}


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_killed_after_any_step_it_ends_with_the_same_bytes(name: str, splits: Splits, tmp_path: Path) -> None:
    whole = outcome(splits, SCHEDULERS[name], Joint())
    # Every step of the one that keeps most; of the others early, late and middle ones of an epoch.
    steps = range(1, whole["num_steps"] + 1, 1 if name == "mixed" else STEPS - 1)
    assert expect_resumed(splits, Joint(), tmp_path, SCHEDULERS[name], steps) == whole, "checkpoints change nothing"
    killed_after(2 * STEPS - 1, tmp_path / "killed", splits, SCHEDULERS[name], Joint())
    assert outcome(splits, SCHEDULERS[name], Joint(), Checkpoints(tmp_path / "killed", 10)) == whole


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("sgd", marks=pytest.mark.nightly)])
def test_every_method_and_optimizer_resumes(method: str, optimizer: str, splits: Splits, tmp_path: Path) -> None:
    """Also: a method that has trained, whole or in part, is as it was."""
    used, fresh = METHODS.example(method), METHODS.example(method)
    expect_resumed(splits, used, tmp_path, optimizer=optimizer)
    assert vars(used) == vars(fresh)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_without_momentum_it_resumes_too(optimizer: str, splits: Splits, tmp_path: Path) -> None:
    expect_resumed(splits, Joint(), tmp_path, optimizer=optimizer, momentum=0.0)


def test_the_warm_up_resumes(splits: Splits, tmp_path: Path) -> None:
    settings = Warmup(epochs=EPOCHS, batch_size=16, optimizer="adamw", lr=0.01, weight_decay=0, momentum=0)

    def warmed(checkpoints: Checkpoints | None) -> dict[str, Any]:
        trainer = Trainer(model_with_chance(splits), Joint(), settings, Runtime.start(SETTINGS))
        evidence = warm_up(trainer, splits[Split.TRAIN], settings, 0, None, checkpoints)
        return {"fused": evidence.logits["fused"].numpy().tobytes(), **weights.take(trainer.model)}

    whole = warmed(None)
    for number in range(1, EPOCHS * STEPS + 1, STEPS - 1):
        with pytest.raises(Killed):
            warmed(Deadly(tmp_path / str(number), number))
        again = warmed(Checkpoints(tmp_path / str(number), 10))
        assert again["fused"] == whole["fused"]
        assert all(torch.equal(again[name], values) for name, values in whole.items() if name != "fused")


def test_a_training_killed_again_and_again_gets_to_its_end(splits: Splits, tmp_path: Path) -> None:
    whole = outcome(splits, Learned(), Joint())
    num_kills = 0
    while True:
        try:
            again = outcome(splits, Learned(), Joint(), Deadly(tmp_path, 2))
            break
        except Killed:
            num_kills += 1
    assert num_kills == EPOCHS * STEPS // 2
    assert again == whole


def damaged(content: bytes) -> Iterator[bytes]:
    yield b""
    yield content[: len(content) // 2]
    for place in (3, 100, len(content) - 1):
        yield content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    splits: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = outcome(splits, Learned(), Joint())
    killed_after(9, tmp_path, splits, Learned(), Joint())
    first, last = sorted(tmp_path.glob("*.safetensors"))
    kept = {path: path.read_bytes() for path in (first, last)}
    for content in damaged(kept[last]):
        first.write_bytes(kept[first])
        last.write_bytes(content)
        state = Checkpoints(tmp_path, 10).load()
        assert state is not None
        assert state["trainer"]["num_steps"] == 8, "the last was of step 9"
        assert f"{last} is damaged" in caplog.text
        assert not last.exists()
    assert outcome(splits, Learned(), Joint(), Checkpoints(tmp_path, 10)) == whole
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"x")
    assert Checkpoints(tmp_path, 10).load() is None


def test_two_are_kept_and_none_at_the_end(splits: Splits, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    whole = outcome(splits, Learned(), Joint(), checkpoints)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert outcome(splits, Learned(), Joint(), Checkpoints(tmp_path, 0)) == whole, "killed right after its last step"
    checkpoints.remove()
    assert not list(tmp_path.glob("**/*.safetensors"))


def test_a_checkpoint_belongs_to_its_parameters_and_inputs(tmp_path: Path) -> None:
    keys = []
    for parts, text in (({"lr": 1}, "1"), ({"lr": 2}, "1"), ({"lr": 1}, "2"), ({"lr": 1}, "1")):
        (tmp_path / "a").write_text(text)
        keys.append(key(parts, [tmp_path]))
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]
    (tmp_path / "a").rename(tmp_path / "b")
    assert key({"lr": 1}, [tmp_path]) not in keys


def test_a_checkpoint_belongs_to_the_fields_of_its_components(tmp_path: Path) -> None:
    raw = read_mapping(ROOT / "params.yaml")
    folders = set()
    runtime = Runtime.start(SETTINGS)
    for values in ({}, {"methods": {"joint": {"name": "joint", "fused_weight": 0.5}}}, {"fusion": "sum"}):
        params = checked(raw | values, Params, Path("params.yaml"))
        folders.add(checkpoints_of(params, Workspace(tmp_path), "joint-random-0", [], runtime).folder)
    runtime.settings = SETTINGS.model_copy(update={"precision": "bfloat16"})  # as `auto` may become elsewhere
    folders.add(checkpoints_of(params, Workspace(tmp_path), "joint-random-0", [], runtime).folder)
    assert len(folders) == 4


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    state: dict[str, Any] = {
        "tensors": {"a": torch.arange(3), "b": [torch.zeros(0, 2), torch.ones(2, 3).T]},
        "plain": [1, 0.1, float("-inf"), None, True, "text", {"nested": [[]]}],
    }
    Checkpoints(tmp_path, 0).save(state)
    found = Checkpoints(tmp_path, 0).load()
    assert found is not None
    assert found["plain"] == state["plain"]
    assert torch.equal(found["tensors"]["a"], torch.arange(3))
    assert torch.equal(found["tensors"]["b"][1], torch.ones(3, 2))
    assert found["tensors"]["b"][0].shape == (0, 2)


def test_another_number_of_ranks_is_refused(splits: Splits, tmp_path: Path) -> None:
    killed_after(3, tmp_path, splits, Random(), Joint())
    checkpoints = Checkpoints(tmp_path, 10)
    state = checkpoints.load()
    assert state is not None
    checkpoints.save({**state, "num_ranks": 2})
    with pytest.raises(ValueError, match="ran on 2 processes, this one has 1: set spread.devices"):
        outcome(splits, Random(), Joint(), checkpoints)


class Poisoned(Joint):
    """Its third loss is not a number."""

    def loss(self, logits: Mapping[str, torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
        if bool((labels == 0).all()):
            logits["m1"][1] = torch.nan
        return super().loss(logits, labels)


def test_a_loss_that_is_not_finite_leaves_the_batch_and_the_last_good_checkpoint(
    splits: Splits, tmp_path: Path
) -> None:
    train = splits[Split.TRAIN]
    order = np.concatenate([np.arange(32), np.flatnonzero(train.labels == 0)])

    class Fixed(Random):
        def indices(self, *given: Any) -> np.ndarray:
            return order

    message = (
        r"the loss is nan at step 3: the logits of 'm1' are not finite for 1 of 16 samples \('train_3'\); the batch "
        r"is in .*not-finite\.safetensors, the last good checkpoint beside it; lower train\.lr, or look at these"
    )
    with pytest.raises(ValueError, match=message):
        outcome(splits, Fixed(), Poisoned(), Checkpoints(tmp_path, 0))
    with safe_open(tmp_path / "not-finite.safetensors", "np") as file:
        assert file.get_tensor("indices").tolist() == order[32:48].tolist()
        assert np.array_equal(file.get_tensor("inputs.m0"), train.arrays["m0"][order[32:48]])
        assert np.isnan(file.get_tensor("logits.m1")[1]).all()
        assert json.loads(file.metadata()["ids"])[1] == "train_3"
    state = Checkpoints(tmp_path, 0).load()
    assert state is not None
    assert state["trainer"]["num_steps"] == 2


def test_on_several_ranks_the_inputs_are_of_their_own_rows(splits: Splits, tmp_path: Path) -> None:
    train = splits[Split.TRAIN]
    batch = next(batches(train, np.arange(4), 4, Runtime.start(SETTINGS)))
    inputs = {name: values.float()[[0, 2]] for name, values in batch.inputs.items()}
    inputs["m0"][1] = torch.nan
    step = StepRecord(1, batch._replace(inputs=inputs), np.array([0, 2]), {}, torch.tensor(torch.nan))
    with (
        pytest.raises(
            ValueError, match=rf"the values of 'm0' are not finite for 1 of 2 samples \('{train.ids[2]}'\)"
        ),
        explained("train", train, tmp_path),
    ):
        raise NotFinite(step)
    with safe_open(tmp_path / "not-finite.safetensors", "np") as file:
        assert file.get_tensor("rows").tolist() == [0, 2]


def test_values_that_are_not_finite_are_named_by_modality(splits: Splits) -> None:
    train = splits[Split.TRAIN]
    arrays = {name: values.astype(np.float32) for name, values in train.arrays.items()}
    arrays["m0"][7] = np.inf
    broken = PackedSplit(train.folder, train.split, train.meta, train.labels, train.ids, arrays)
    with pytest.raises(ValueError, match=r"the values of 'm0' are not finite for 1 of 16 samples \('train_7'\)"):
        outcome({**splits, Split.TRAIN: broken}, Random(), Joint())


def test_out_of_memory_says_which_setting_to_lower(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...")

    model = model_with_chance(splits)
    monkeypatch.setattr(type(model), "forward", greedy)
    with pytest.raises(
        ValueError, match=r"out of memory \(CUDA out of memory\): lower train\.batch_size, set runtime"
    ):
        outcome(splits, Random(), Joint())
    with pytest.raises(ValueError, match=r"lower evaluate\.batch_size"):
        judge(model, splits[Split.TEST], Joint(), 64, Runtime.start(SETTINGS))
