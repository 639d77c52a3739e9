"""Encoders and fusion learn apart."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bss.encoders.fusions.gated import Gated
from bss.training.methods.dgl import DGL
from bss.training.methods.fused_only import FusedOnly
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import Splits, assert_close, assert_same, first_batch, gradients, small_trainer
from tests.helpers.toy import packed_toy


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"))


def test_two_features_by_hand(pair: Splits) -> None:
    method = DGL()
    trainer = small_trainer(pair, method)
    joined: Any = nn.Linear(2, 2)
    trainer.model.fusion = joined
    joined.forward = lambda f: nn.functional.linear(torch.cat([*f.values()], dim=1), joined.weight, joined.bias)
    with torch.no_grad():
        joined.weight.copy_(torch.eye(2))
        joined.bias.zero_()
    trainer._num_rows = 1
    features: dict[str, Any] = {
        name: torch.tensor([[value]], requires_grad=True) for name, value in (("m0", 1.0), ("m1", 2.0))
    }
    method.encoders_loss(trainer, features, torch.tensor([0])).backward()
    assert float(features["m0"].grad) == pytest.approx(-1.075766, abs=1e-6)
    assert float(features["m1"].grad) == pytest.approx(3.523188, abs=1e-6)
    joined.zero_grad()
    nn.functional.cross_entropy(joined(features), torch.tensor([0])).backward()
    assert joined.weight.grad[:, 0].tolist() == pytest.approx([-0.731059, 0.731059], abs=1e-6)
    assert joined.weight.grad[:, 1].tolist() == pytest.approx([-1.462117, 1.462117], abs=1e-6)


@pytest.mark.parametrize("fusion", [None, Gated(width=4)], ids=["concat", "gated"])
def test_a_step_is_the_slow_one(splits: Splits, fusion: Gated | None) -> None:
    batch = first_batch(splits)
    trainer = small_trainer(splits, DGL(alpha=3, max_norm=None), fusion)
    model: Any = small_trainer(splits, FusedOnly(), fusion).model.train()
    model.zero_grad()
    features = {
        name: model.branch(name).encoder(
            (batch.inputs[name].float() - model.branch(name).mean) / model.branch(name).std
        )
        for name in model.branches
    }
    for name, values in features.items():
        alone = {other: values if other == name else torch.zeros_like(features[other]) for other in features}
        (3 * nn.functional.cross_entropy(model.fusion(alone), batch.labels)).backward(retain_graph=True)
    expected: dict[str, Tensor] = {
        name: weight.grad.clone() for name, weight in model.named_parameters() if ".encoder." in name
    }
    model.zero_grad()
    detached = {name: values.detach() for name, values in features.items()}
    nn.functional.cross_entropy(model.fusion(detached), batch.labels).backward()
    for name, values in detached.items():
        nn.functional.cross_entropy(model.branch(name).head(values), batch.labels).backward()
    expected |= {name: weight.grad for name, weight in model.named_parameters() if ".encoder." not in name}
    found = gradients(trainer, batch)
    assert_close(found, {name: expected[name] for name in found})


def test_fusion_and_heads_learn_as_in_fused_only(splits: Splits) -> None:
    batch = first_batch(splits)
    plain, found = (
        gradients(small_trainer(splits, method), batch) for method in (FusedOnly(), DGL(alpha=0, max_norm=None))
    )
    assert_same(found, plain, ".head.")
    assert_same(found, plain, "fusion.")
    assert not any(gradient.any() for name, gradient in found.items() if ".encoder." in name)


def test_the_norm_of_all_gradients_is_clipped(pair: Splits) -> None:
    batch = first_batch(pair)
    free, tight, wide = (gradients(small_trainer(pair, DGL(max_norm=limit)), batch) for limit in (None, 0.5, 1e6))
    length = torch.cat([values.flatten() for values in free.values()]).norm()
    assert length > 0.5
    assert_close(tight, {name: values * 0.5 / length for name, values in free.items()})
    assert_same(wide, free)


def test_an_encoder_learns_nothing_from_pairs_that_lack_its_modality(pair: Splits) -> None:
    found = gradients(small_trainer(pair, DGL()), with_gaps(first_batch(pair), m0=list(range(16))))
    assert not any(values.any() for name, values in found.items() if name.startswith("branches.m0.encoder"))
    assert any(values.any() for name, values in found.items() if name.startswith("branches.m1.encoder"))


def test_a_gated_modality_gates_itself(splits: Splits) -> None:
    batch, method = first_batch(splits), DGL(alpha=1)
    trainer = small_trainer(splits, method, Gated(width=4))
    model: Any = trainer.model.train()
    features = {name: values.detach().requires_grad_() for name, values in model(batch.inputs).features.items()}
    fusion, total, begin = model.fusion, torch.zeros(()), 0
    for name, values in features.items():
        end = begin + values.shape[1]
        gate = (values @ fusion.gates[name].weight[:, begin:end].T + fusion.gates[name].bias).sigmoid()
        logits = fusion.head(gate * fusion.projections[name](values).tanh())
        total = total + nn.functional.cross_entropy(logits, batch.labels)
        begin = end
    assert torch.allclose(method.encoders_loss(trainer, features, batch.labels), total, rtol=1e-5)
