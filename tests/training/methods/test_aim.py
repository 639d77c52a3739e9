"""AIM, as it is inferred, against its equations."""

from collections.abc import Mapping
from math import exp
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bss.data.packed import ModalityMeta
from bss.encoders._blocks import blocks
from bss.encoders.encoder import ENCODERS
from bss.encoders.mlp import MLP
from bss.training.loader import Batch
from bss.training.methods._depths import depths, pooled, watched, weights_at
from bss.training.methods.aim import AIM, confidence, slow_rows
from bss.training.methods.joint import Joint
from bss.training.trainer import Trainer
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_same, first_batch, gradients, small_trainer, trained_weights
from tests.helpers.toy import packed_toy

FEW: dict[str, Any] = {"num_steps": 5}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


def warmed(splits: Splits, method: AIM, epoch: int = 1) -> tuple[Trainer, Batch]:
    """A trainer at the begin of an epoch, some steps after the first."""
    trainer, batch = small_trainer(splits, method), first_batch(splits)
    for number in range(epoch + 1):
        trainer.epoch = number
        method.begin_epoch(trainer, number, lambda: None, lambda: None)  # type: ignore[return-value]
        if number < epoch:
            trainer._step(batch)
    return trainer, batch


def test_the_golden_scores_and_chances() -> None:
    prototypes = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
    for label, score in enumerate((0.851953, 0.148047)):
        found = confidence(torch.tensor([[1.0, 0.0]]), prototypes, torch.tensor([label]))
        assert float(found) == pytest.approx(score, abs=1e-6)
    chances = AIM().probabilities({"a": [0.8, 0.6, 0.9], "b": [0.4, 0.55, 0.5]})
    assert [name for name, _ in chances] == ["a"] * 3
    assert [chance for _, chance in chances] == pytest.approx([0.761594, 0.090659, 0.664037], abs=1e-6)


def test_of_several_the_leader_is_compared_with_the_mean_of_the_others() -> None:
    ((leader, chance),) = AIM(alpha=2).probabilities({"a": [0.2], "b": [0.5], "c": [0.3]})
    assert leader == "b"
    assert chance == pytest.approx((exp(4) - 1) / (exp(4) + 1)), "tanh(2 (0.5 / 0.25 - 1))"
    assert AIM().probabilities({"a": [0.0], "b": [0.0]}) == [("a", 0.0)]


def test_the_rows_that_changed_least_are_slow() -> None:
    before = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0], [5.0, 0.0]])
    now = torch.tensor([[3.0, 5.0], [1.0, 0.5], [0.0, 2.2], [5.0, 3.0]])  # by 0.2, 0.5, 0.1, 0.6
    assert slow_rows(before, now, 0.5)[:, 0].tolist() == [True, False, True, False]
    assert slow_rows(before, now, 0.5)[:, 1].tolist() == [True, False, True, False]
    assert slow_rows(before[:, 0], now[:, 0], 1).all()
    assert not slow_rows(before, now, 0).any()
    assert slow_rows(torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2), 0.5).shape == (4, 1, 2, 2)
    assert slow_rows(torch.tensor(1.0), torch.tensor(2.0), 1.0).shape == ()


SHAPES: dict[str, tuple[ModalityMeta, int]] = {
    "mlp": (ModalityMeta(kind="features", shape=(5,), mean=0.0, std=1.0, encoder="mlp"), 2),
    "small_cnn": (ModalityMeta(kind="image", shape=(1, 8, 8), mean=0.0, std=1.0, encoder="small_cnn"), 3),
    "gru": (ModalityMeta(kind="sequence", shape=(6, 3), mean=0.0, std=1.0, encoder="gru"), 1),
    "resnet18": (ModalityMeta(kind="video", shape=(3, 2, 32, 32), mean=0.0, std=1.0, encoder="resnet18"), 4),
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_encoder_has_depths_with_an_output_a_sample(name: str) -> None:
    meta, least = SHAPES[name]

    class Model(nn.Module):
        branches = {"m": None}  # noqa: RUF012

        def branch(self, modality: str) -> Any:
            return self

    model: Any = Model()
    model.encoder = ENCODERS.example(name).build(meta).eval()
    cut = depths(model, 4)
    assert len(cut["m"]) >= least
    with torch.no_grad(), watched(cut, 5) as found:
        model.encoder(torch.randn(5, *meta.shape))
    assert [values.shape[0] for values in found["m"]] == [5] * len(cut["m"])
    parts = [set(weights_at(model.encoder, modules)) for modules in cut["m"]]
    assert all(parts)
    assert sum(map(len, parts)) == len(set().union(*parts)), "a weight lies at one depth"


def test_outputs_are_pooled_over_places_and_over_the_rows_of_a_sample() -> None:
    maps = torch.randn(6, 3, 2, 2)
    found = pooled(maps, 2)
    for sample in range(2):
        for channel in range(3):
            numbers = maps[3 * sample : 3 * sample + 3, channel].flatten().tolist()
            assert float(found[sample, channel]) == pytest.approx(sum(numbers) / len(numbers), abs=1e-6)
    assert torch.allclose(pooled(maps[:, :, 0], 6), maps[:, :, 0].mean(dim=1))
    assert torch.equal(pooled((maps[:, :, 0, 0], None), 6), maps[:, :, 0, 0])


def test_convolutions_over_a_sequence_are_pooled_over_its_steps() -> None:
    meta = ModalityMeta(kind="sequence", shape=(24, 3), mean=0.0, std=1.0, encoder="small_cnn")
    network = ENCODERS.build({"name": "small_cnn", "width": 4}).build(meta).eval()
    cut = {"m": blocks(network)}
    with torch.no_grad(), watched(cut, 5) as found:
        network(steps := torch.randn(5, 24, 3))
        first = network[1](steps.transpose(1, 2))
        of_first = network[3](network[2](first))
    assert [values.shape[1] for values in found["m"][:2]] == [4, 8], "channels, however many steps there are"
    for channel in range(4):
        of_steps = of_first[0, channel].tolist()
        assert float(found["m"][0][0, channel]) == pytest.approx(sum(of_steps) / len(of_steps), abs=1e-6)


def test_all_have_the_depths_of_the_encoder_of_fewest_blocks(pair: Splits) -> None:
    trainer = small_trainer(pair, AIM(), encoders={"m0": MLP(num_layers=3), "m1": MLP(num_layers=2)})
    cut = depths(trainer.model, 4)
    assert [len(parts) for parts in cut.values()] == [2, 2]
    assert [len(depths(trainer.model, 1)[name]) for name in cut] == [1, 1]
    joined = [module for part in cut["m0"] for module in part]
    assert joined == list(trainer.model.branch("m0").encoder.children()), "none is left out"


def test_prototypes_are_taken_for_their_classes(pair: Splits) -> None:
    trainer, batch = warmed(pair, AIM(num_steps=60))
    before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    grad = torch.is_grad_enabled()
    trainer.method._make_prototypes(trainer, batch)  # type: ignore[attr-defined]
    assert torch.is_grad_enabled() == grad
    assert_same(before, trainer.model.state_dict())
    assert all(weight.grad is None for weight in trainer.model.parameters())
    # What comes out at the last depth is what the head of the features sees.
    features = {name: trainer.memory[f"prototypes {name} 1"] for name in ("m0", "m1")}
    assert trainer.model.fusion is not None
    assert trainer.model.fusion(features).argmax(dim=1).tolist() == [0, 1, 2]


def drawn(method: AIM, trainer: Trainer, batch: Batch) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
    """The weights whose place is taken in a step, and the gradients of the step."""
    taken: dict[str, Tensor] = {}
    replaced = method._replaced

    def noting(*given: Any) -> dict[str, Tensor]:
        taken.update(replaced(*given))
        return taken

    object.__setattr__(method, "_replaced", noting)
    return taken, gradients(trainer, batch)


def test_an_auxiliary_block_trains_its_slow_rows_with_the_others_as_they_were(pair: Splits) -> None:
    method = AIM(alpha=1e6, **FEW)  # who leads at all is replaced
    trainer, batch = warmed(pair, method)
    main = {name: values.detach().clone() for name, values in trainer.model.named_parameters()}
    for key in [key for key in trainer.memory if key.startswith("start ")]:
        trainer.memory[key] = trainer.memory[key] + 0.3
    taken, found = drawn(method, trainer, batch)
    assert taken
    assert_same(main, dict(trainer.model.named_parameters()))
    with torch.no_grad():
        for place in taken:
            name = "branches.{}.encoder.{}".format(*place.split(".", 1))
            slow = trainer.memory[f"slow {place}"]
            dict(trainer.model.named_parameters())[name].copy_(
                main[name].where(slow, trainer.memory[f"start {place}"])
            )
    expected = gradients_of_joint(trainer, batch)
    for place in taken:
        name = "branches.{}.encoder.{}".format(*place.split(".", 1))
        expected[name] = expected[name] * trainer.memory[f"slow {place}"]
    for name, values in expected.items():
        assert torch.allclose(found[name], values, atol=1e-6), name


def gradients_of_joint(trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
    trainer.model.train()
    loss = Joint().loss(trainer.model(batch.inputs).logits, batch.labels)
    weights = dict(trainer.model.named_parameters())
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def test_neutral_it_is_joint(splits: Splits) -> None:
    joint = trained_weights(splits, Joint())
    assert_same(trained_weights(splits, AIM(alpha=0)), joint)
    assert_same(trained_weights(splits, AIM(warm=9)), joint)
    assert not torch.equal(trained_weights(splits, AIM(alpha=50, **FEW))["fusion.weight"], joint["fusion.weight"])


def test_absent_samples_count_for_no_score(pair: Splits) -> None:
    method = AIM(**FEW)
    seen: list[dict[str, list[float]]] = []
    trainer, batch = warmed(pair, method)

    def noting(scores: dict[str, list[float]]) -> list[Any]:
        seen.append(scores)
        return []

    object.__setattr__(method, "probabilities", noting)
    for value in (0, 9):
        gappy = with_gaps(batch, m0=[1, 2])
        gappy.inputs["m0"][[1, 2]] = value
        gradients(trainer, gappy)
    assert seen[0] == seen[1]
    gradients(trainer, with_gaps(batch, m0=list(range(16))))
    assert len(seen) == 2, "one alone is compared with nobody"


def test_words_have_no_prototypes_and_two_others_are_needed(pair: Splits) -> None:
    trainer, batch = warmed(pair, AIM(**FEW))
    trainer.model.branch("m0").mean.zero_()
    trainer.model.branch("m0").std.fill_(1)
    with pytest.raises(ValueError, match=r"two modalities or more, and words \(m0\) are no quantities"):
        gradients(trainer, batch)


@pytest.mark.parametrize(
    ("settings", "message"), [({"share": 2}, "share"), ({"warm": 0}, "warm"), ({"alpha": -1}, "alpha")]
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AIM(**settings)
