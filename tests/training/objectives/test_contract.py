"""The contract of a warm-up objective, over the whole registry and both tasks of what has two."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bss.measure.evidence import Evidence
from bss.model import MultimodalModel, build_model
from bss.training import weights
from bss.training.checkpoint import Checkpoints
from bss.training.loop import warm_up
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS
from bss.training.objectives.objective import OBJECTIVES
from bss.training.runtime import Runtime
from bss.training.settings import RuntimeSettings, Warmup
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.killed import STEPS, Deadly, Killed, model_with_chance
from tests.helpers.steps import Splits
from tests.helpers.toy import SETTINGS, packed_toy

SPECS = [
    pytest.param({"name": name, **OBJECTIVES[name].example, **({"task": task} if task else {})},
                 id=f"{name} {task}" if task else name)
    for name in OBJECTIVES
    for task in (["label", "contrast"] if "task" in OBJECTIVES[name].model_fields else [None])
]  # fmt: skip
objectives = pytest.mark.parametrize("given", SPECS)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("six"), 6)


def settings_of(given: Any, **others: Any) -> Warmup:
    fields = {"epochs": 2, "batch_size": 16, "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.01, "momentum": 0.9}
    return Warmup(**{**fields, **others}, objective=given)


def warmed(
    splits: Splits,
    settings: Warmup,
    model: MultimodalModel | None = None,
    checkpoints: Checkpoints | None = None,
    runtime: RuntimeSettings = SETTINGS,
) -> tuple[dict[str, Tensor], Evidence, Trainer]:
    """The weights after a warm-up, its evidence, and what made it."""
    model = model or build_model(splits[Split.TRAIN].meta, {}, 0)
    trainer = Trainer(model, settings.objective, settings, Runtime.start(runtime))
    evidence = warm_up(trainer, splits[Split.TRAIN], settings, 0, None, checkpoints)
    return weights.take(model), evidence, trainer


@objectives
@pytest.mark.parametrize("number", [2, 6])
def test_it_trains_and_leaves_the_modules_as_they_were(given: Any, number: int, pair: Splits, six: Splits) -> None:
    splits = pair if number == 2 else six
    before = build_model(splits[Split.TRAIN].meta, {}, 0)
    found, evidence, trainer = warmed(splits, settings_of(given))
    before.load_state_dict(found)
    assert not trainer.model._forward_hooks
    assert list(evidence.features or {}) == list(before.branches)
    for name, start in build_model(splits[Split.TRAIN].meta, {}, 0).named_parameters():
        assert found[name].isfinite().all()
        assert not torch.equal(found[name], start), name
    settings = settings_of(given)
    assert trainer.num_steps == settings.num_epochs * STEPS
    accuracy = (evidence.logits["fused"].argmax(dim=1) == evidence.labels).float().mean()
    assert accuracy > 0.6, "of three classes"


@objectives
def test_every_weight_is_in_the_optimizer(given: Any, pair: Splits) -> None:
    settings = settings_of(given)
    model = build_model(pair[Split.TRAIN].meta, {}, 0)
    trainer = Trainer(model, settings.objective, settings, Runtime.start(SETTINGS))
    held = {id(weight) for group in trainer.optimizer.param_groups for weight in group["params"]}
    assert held == {id(weight) for weight in trainer.model.parameters()}


@objectives
def test_probing_moves_nothing_of_an_encoder(given: Any, pair: Splits) -> None:
    """Neither weights nor batch statistics, by decay or momentum neither."""
    short, long = (warmed(pair, settings_of(given, probe_epochs=number))[0] for number in (0, 2))
    probed = not settings_of(given).objective.trains_heads
    for name, values in short.items():
        is_head = ".head." in name or name.startswith("fusion")
        assert torch.equal(values, long[name]) != (probed and is_head), name
    if probed:
        assert settings_of(given, probe_epochs=3).num_epochs == 5


@objectives
def test_killed_after_any_step_it_ends_with_the_same_bytes(given: Any, pair: Splits, tmp_path: Path) -> None:
    settings = settings_of(given, epochs=1, probe_epochs=1)
    whole, evidence, _ = warmed(pair, settings, model_with_chance(pair))
    for number in (2, STEPS, STEPS + 3, 2 * STEPS)[: 2 * settings.num_epochs]:
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            warmed(pair, settings, model_with_chance(pair), Deadly(folder, number))
        again, seen, _ = warmed(pair, settings, model_with_chance(pair), Checkpoints(folder, 10))
        assert all(torch.equal(again[name], values) for name, values in whole.items()), number
        assert torch.equal(seen.logits["fused"], evidence.logits["fused"])


@objectives
def test_it_trains_in_bfloat16(given: Any, pair: Splits) -> None:
    found, *_ = warmed(
        pair, settings_of(given, epochs=1), runtime=SETTINGS.model_copy(update={"precision": "bfloat16"})
    )
    assert all(values.isfinite().all() for values in found.values())


@objectives
def test_it_keeps_nothing_of_a_warm_up(given: Any, pair: Splits) -> None:
    settings = settings_of(given, epochs=1)
    fresh = settings.objective.model_dump()
    one, two = (warmed(pair, settings)[0] for _ in range(2))
    assert settings.objective.model_dump() == fresh
    assert all(torch.equal(values, two[name]) for name, values in one.items())


def test_the_default_is_the_method_joint(pair: Splits) -> None:
    """To the last bit, optimizer steps and probing included."""
    settings = settings_of("joint")
    assert settings == Warmup(**settings.model_dump(exclude={"objective", "probe_epochs"}))
    found, *_ = warmed(pair, settings)
    trainer = Trainer(build_model(pair[Split.TRAIN].meta, {}, 0), Joint(), settings, Runtime.start(SETTINGS))
    warm_up(trainer, pair[Split.TRAIN], settings, 0)
    assert all(torch.equal(values, found[name]) for name, values in weights.take(trainer.model).items())


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_a_warm_up_is_stale_by_the_files_of_its_own_objective_alone(name: str) -> None:
    """tasks/methods.py writes their checksums; what they import of the methods is there by way of probe."""
    files = {path.name for path in OBJECTIVES.sources(name)}
    assert {f"{name}.py", "objective.py"} <= files
    assert not {f"{other}.py" for other in OBJECTIVES if other != name} & files
    of_methods = {f"bss.training.methods.{path.stem}" for path in METHODS.sources("probe")}
    for path in OBJECTIVES.sources(name):
        nodes = ast.walk(ast.parse(path.read_text()))
        modules = {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert {module for module in modules if module.startswith("bss.training.methods")} <= of_methods
