"""Re-balancing by learning speed."""

from collections import Counter
from math import log10
from typing import Any

import pytest
import torch

from bss.model import MultimodalModel
from bss.training import weights
from bss.training.methods._mmtm import MMTM, add_mmtm
from bss.training.methods.greedy import Greedy, leader, relative_size
from bss.training.methods.joint import Joint
from tests.helpers.steps import Splits, assert_close, assert_same, first_batch, small_trainer


class WithModule(Joint):
    """`joint` on the network of `greedy`, with the same initial weights."""

    @property
    def name(self) -> str:
        return "greedy"

    def prepare(self, model: MultimodalModel) -> None:
        add_mmtm(model)


def slow_leader(exchange: list[float], own: list[float]) -> tuple[int, float]:
    speed = [log10(a / b) for a, b in zip(exchange, own, strict=True)]
    excess = []
    for place, value in enumerate(speed):
        others = [other for number, other in enumerate(speed) if number != place]
        excess.append(value - sum(others) / len(others))
    return excess.index(max(excess)), max(excess)


def test_speeds_by_hand() -> None:
    w = torch.tensor([4.0, 4, 50, 60]).double()
    exchange, own = torch.tensor([0.02, 0.008]).double() / w[:2], torch.tensor([0.5, 0.9]).double() / w[2:]
    speed = (exchange / own).log10()
    assert speed.tolist() == pytest.approx([-0.301030, -0.875061], abs=1e-6)
    place, excess = leader(exchange, own)
    assert place == 0
    assert excess == pytest.approx(0.574031, abs=1e-6)
    exchange = exchange + torch.tensor([0.01, 0.02]).double() / w[:2]
    own = own + torch.tensor([0.4, 0.7]).double() / w[2:]
    assert (exchange / own).log10().tolist() == pytest.approx([-0.380211, -0.580871], abs=1e-5)
    place, excess = leader(exchange, own)
    assert place == 0
    assert excess == pytest.approx(0.200659, abs=1e-5)
    assert leader(exchange.flip(0), own.flip(0))[0] == 1


@pytest.mark.parametrize("number", [2, 3, 6])
def test_the_leader_equals_its_slow_reference(number: int) -> None:
    exchange, own = torch.rand(2, number, generator=torch.Generator().manual_seed(number)).double()
    place, excess = leader(exchange, own)
    wanted = slow_leader(exchange.tolist(), own.tolist())
    assert place == wanted[0]
    assert excess == pytest.approx(wanted[1])
    assert leader(torch.zeros(number), own) == (0, 0.0)


def test_a_size_is_of_all_weights_together() -> None:
    one, other, still = (torch.nn.Parameter(torch.tensor(values)) for values in ([1.0, 2.0], [3.0], [1.0]))
    one.grad, other.grad = torch.tensor([0.5, 0.5]), torch.tensor([2.0])
    assert float(relative_size([one, other, still])) == pytest.approx(4.5 / 15)


def slow_logits(model: Any, batch: Any, held: str | None) -> dict[str, torch.Tensor]:
    features = {name: model.branches[name].encoder(
        (batch.inputs[name].float() - model.branches[name].mean) / model.branches[name].std
    ) for name in model.branches}  # fmt: skip
    hidden = torch.relu(model.mmtm.squeeze(torch.cat([*features.values()], dim=1)))
    logits = {}
    for name, values in features.items():
        scale = torch.sigmoid(model.mmtm.excite[name](hidden))
        logits[name] = model.branches[name].head(values * (model.mmtm.mean(name) if name == held else scale))
    return logits


@pytest.mark.parametrize("held", [None, "m1"])
def test_features_are_scaled_by_all_modalities_or_by_the_mean(splits: Splits, held: str | None) -> None:
    trainer, batch = small_trainer(splits, Greedy()), first_batch(splits)
    model: Any = trainer.model
    with torch.no_grad():
        model.mmtm.mean_m1.copy_(torch.rand(model.mmtm.mean_m1.shape))
    with model.mmtm.holding(held):
        found = model(batch.inputs).logits
    wanted = slow_logits(model, batch, held)
    assert_close({**wanted, "fused": torch.stack([*wanted.values()]).mean(dim=0)}, found)
    with model.mmtm.holding("m1"):
        alone = model(batch.of(["m1"])).logits
    assert_close({"m1": slow_logits(model, batch, "m1")["m1"]}, alone)
    assert_same(model(batch.of(["m1"])).logits, alone)


def test_steps_rebalance_as_the_slow_ones(splits: Splits) -> None:
    """Seven steps, the sums kept in plain floats beside it."""
    method, batch = Greedy(threshold=0.0, window=2, starts=0), first_batch(splits)
    trainer = small_trainer(splits, method)
    model: Any = trainer.model
    names = list(model.branches)
    exchange, own, left, cared = [0.0] * len(names), [0.0] * len(names), 0, 0
    held: list[str | None] = []
    means: dict[str, list[torch.Tensor]] = {name: [] for name in names}
    for _ in range(7):
        model.zero_grad()
        current = names[cared] if left else None
        logits = slow_logits(model, batch, current)
        sum(torch.nn.functional.cross_entropy(logits[name], batch.labels) for name in names).backward()
        sizes = {
            name: (
                0.0 if w.grad is None else float(w.grad.double().square().sum()),
                float(w.detach().double().square().sum()),
            )
            for name, w in model.named_parameters()
        }
        model.zero_grad()
        if current is None:
            for name in names:
                outputs = model(batch.inputs)
                means[name].append(model.mmtm(outputs.features)[name].detach().mean(dim=0))
            for place, name in enumerate(names):
                shared = [s for n, s in sizes.items() if n.startswith(("mmtm.squeeze", f"mmtm.excite.{name}."))]
                branch = [s for n, s in sizes.items() if n.startswith(f"branches.{name}.")]
                exchange[place] += sum(g for g, _ in shared) / sum(w for _, w in shared)
                own[place] += sum(g for g, _ in branch) / sum(w for _, w in branch)
            cared, excess = slow_leader(exchange, own)
            left = 2 if excess > 0 else 0
        else:
            left -= 1
        held.append(current)
        trainer.train_epoch([batch], 0.01)
        assert trainer.memory["exchange"].tolist() == pytest.approx(exchange, rel=1e-3)
        assert trainer.memory["own"].tolist() == pytest.approx(own, rel=1e-3)
        assert int(trainer.memory["steps left"]) == left
        for name in names:
            assert torch.allclose(model.mmtm.mean(name), torch.stack(means[name]).mean(dim=0), atol=1e-5)
    assert [current is None for current in held] == [True, False, False] * 2 + [True]


def test_before_its_epoch_it_gathers_and_never_rebalances(splits: Splits) -> None:
    trainer, batch = small_trainer(splits, Greedy(threshold=0.0, starts=1)), first_batch(splits)
    trainer.train_epoch([batch] * 3, 0.01)
    assert "steps left" not in trainer.memory
    assert bool((trainer.memory["own"] > 0).all())
    trainer.train_epoch([batch], 0.01)
    assert int(trainer.memory["steps left"]) == 5


def test_the_control_draws_none_or_any_modality_alike(splits: Splits) -> None:
    method, batch = Greedy(chooses="random", window=3, starts=1, threshold=1e9), first_batch(splits)
    trainer = small_trainer(splits, method)
    drawn = []
    for trainer.num_steps in range(400):
        drawn.append(method._chosen(trainer))
    found = Counter(drawn)
    assert set(found) == {None, *range(len(trainer.model.branches))}
    assert min(found.values()) > 0.7 * 400 / len(found), "each 400 / (M + 1) times, more or less"
    trainer.num_steps = 0
    trainer.train_epoch([batch], 0.01)
    assert "steps left" not in trainer.memory
    trainer.num_steps, modes = 0, []
    for _ in range(20):
        trainer.train_epoch([batch], 0.01)
        modes.append(int(trainer.memory["cared for"]) if int(trainer.memory.get("steps left", 0)) else None)
    assert modes == drawn[1:21], "for the next step alone, anew after each"


def test_without_a_window_it_is_joint_on_that_network(splits: Splits) -> None:
    batch, found = first_batch(splits), []
    for method in (Greedy(window=0, chooses="random"), WithModule(fused_weight=0), Greedy(threshold=1e9)):
        trainer = small_trainer(splits, method)
        trainer.train_epoch([batch] * 3, 0.01)
        found.append({n: v for n, v in weights.take(trainer.model).items() if "mean" not in n})
    assert_same(found[0], found[1])
    assert_same(found[2], found[1])


@pytest.mark.parametrize("number", [2, 6])
def test_a_running_mean_is_over_the_batches_that_have_the_modality(number: int) -> None:
    mmtm = MMTM({f"m{place}": 2 + place for place in range(number)})
    generator = torch.Generator().manual_seed(number)
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in mmtm.excite}
    for batch in range(7):
        here = [name for place, name in enumerate(mmtm.excite) if place == 0 or batch % (place + 1)]
        for name in here:
            seen[name].append(torch.rand(mmtm.mean(name).shape, generator=generator))
        mmtm.add_to_means({name: seen[name][-1] for name in here})
    for name, rows in seen.items():
        assert torch.allclose(mmtm.mean(name), torch.stack(rows).mean(dim=0), atol=1e-6), name
