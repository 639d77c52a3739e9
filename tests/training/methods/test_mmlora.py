"""Adapters of all encoders, after each modality by itself."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bss.encoders.encoder import ENCODERS, Encoder
from bss.encoders.gru import GRU
from bss.encoders.mlp import MLP
from bss.encoders.text_transformer import TextTransformer
from bss.model import MultimodalModel, build_model
from bss.training import weights
from bss.training.methods._adapters import Adapter, adapters, add_adapters, merge_adapters
from bss.training.methods.method import METHODS
from bss.training.methods.mmlora import MMLoRA
from bss.training.methods.unimodal import Unimodal
from bss.training.trainer import Trainer
from bss.types import FUSED, Split
from tests.helpers.encoders import MODALITIES, accepted, examples, made_up
from tests.helpers.steps import Splits, first_batch, gradients, small_trainer, trained_weights
from tests.helpers.toy import packed_toy

ORIGINAL = "parametrizations.weight.original"
LIGHT = [name for name in ENCODERS if name not in ("resnet18", "resnet50", "video3d", "huggingface", "timm")]


@pytest.fixture(scope="module", params=[2, 3], ids=lambda number: f"{number} modalities")
def splits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    return packed_toy(tmp_path_factory.mktemp("toy"), request.param)


def set_b(network: nn.Module) -> None:
    """Adapters that do something."""
    torch.manual_seed(0)
    for adapter in adapters(network):
        nn.init.normal_(adapter.b)


def plain(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights without adapters, by the names that they had before."""
    return {name.replace(ORIGINAL, "weight"): values for name, values in found.items()
            if not name.endswith((".0.a", ".0.b"))}  # fmt: skip


@pytest.mark.parametrize(("scale", "h", "merged"), [(1.0, (6.0, 2.5), [[1.5, 1.5], [0.25, 0.75]]),
                                                    (2.0, (5.0, 2.0), [[2.0, 1.0], [0.5, 0.5]])])  # fmt: skip
def test_a_layer_by_hand(scale: float, h: tuple[float, float], merged: list[list[float]]) -> None:
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        add_adapters(layer, 1, scale)
        [adapter] = adapters(layer)
        adapter.a.copy_(torch.tensor([[1.0, -1.0]]))
        adapter.b.copy_(torch.tensor([[0.5], [0.25]]))
    assert layer(torch.tensor([1.0, 3.0])).tolist() == list(h)
    merge_adapters(layer)
    assert layer.weight.tolist() == merged
    assert type(layer) is nn.Linear


@pytest.mark.nightly  # the import of peft takes five seconds
@pytest.mark.parametrize("layer", [lambda: nn.Linear(5, 4), lambda: nn.Conv2d(3, 8, 3, padding=1)])
def test_a_layer_is_that_of_peft(layer: type[nn.Module]) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    own, theirs = nn.Sequential(layer()), nn.Sequential(layer())
    theirs.load_state_dict(own.state_dict())
    add_adapters(own, 2, 1.5)
    set_b(own)
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, lora_alpha=3, target_modules=["0"]), theirs)
    [adapter] = adapters(own)
    with torch.no_grad():
        for part, values in (("lora_A", adapter.a), ("lora_B", adapter.b)):
            weight = getattr(theirs[0], part)["default"].weight
            weight.copy_(values.view(weight.shape))
    sample = torch.randn(3, 5) if isinstance(own[0], nn.Linear) else torch.randn(2, 3, 6, 6)
    assert torch.allclose(own(sample), theirs(sample), atol=1e-6)


def check(encoder: Encoder, modality: str) -> None:
    """Adapters do the same with and without gradients, in eval mode too, and once they are merged."""
    torch.manual_seed(0)
    network = encoder.build(MODALITIES[modality]).eval()
    sample = torch.from_numpy(made_up(MODALITIES[modality], 3)).float()
    before, names = network(sample).detach(), set(network.state_dict())
    add_adapters(network, 2, 1.0)
    assert torch.equal(network(sample), before), "B is zero"
    set_b(network)
    with_gradients = network(sample).detach()
    with torch.inference_mode():
        without = network(sample)
    assert not torch.allclose(with_gradients, before, atol=1e-3)
    tolerance = 1e-5 * float(with_gradients.abs().max())
    assert torch.allclose(without, with_gradients, atol=tolerance)
    merge_adapters(network)
    assert set(network.state_dict()) == names
    with torch.inference_mode():
        assert torch.allclose(network(sample), with_gradients, atol=tolerance)


@pytest.mark.parametrize("name", LIGHT)
def test_every_encoder_is_adapted_or_refused(name: str) -> None:
    for encoder in examples(name):
        for modality in accepted(encoder):
            if name == "gru":
                with pytest.raises(ValueError, match=r"no adapter of recurrent layers \(GRU\)"):
                    check(encoder, modality)
            else:
                check(encoder, modality)


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(set(ENCODERS) - set(LIGHT)))
def test_every_large_encoder_is_adapted_or_refused(name: str) -> None:
    for encoder in examples(name):
        for modality in accepted(encoder):
            if getattr(encoder, "lora_rank", None):
                with pytest.raises(ValueError, match="has adapters already: leave out its lora_rank"):
                    check(encoder, modality)
            elif getattr(encoder, "freeze", False):
                with pytest.raises(ValueError, match="no matrix of weights that is trained: is it frozen"):
                    check(encoder, modality)
            else:
                check(encoder, modality)


def test_the_fused_path_of_a_transformer_meets_all_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the path that is taken, and each adapter by itself changes what comes out."""
    network = TextTransformer(width=16, num_layers=1).build(MODALITIES["words"]).eval()
    add_adapters(network.layers, 2, 1.0)
    sample = torch.from_numpy(made_up(MODALITIES["words"], 3))
    fused: list[int] = []
    original = torch._transformer_encoder_layer_fwd

    def counted(*given: Any) -> Tensor:
        fused.append(1)
        return original(*given)

    monkeypatch.setattr(torch, "_transformer_encoder_layer_fwd", counted)
    with torch.no_grad():
        plain_output = network(sample)
        parts = list(adapters(network))
        assert len(parts) == 4, "in_proj, out_proj and two linear layers"
        for part in parts:
            nn.init.normal_(part.b)
            assert not torch.allclose(network(sample), plain_output, atol=1e-4)
            nn.init.zeros_(part.b)
    assert len(fused) == 5


def test_the_first_phase_is_unimodal_to_the_last_bit(splits: Splits) -> None:
    found, reference = (trained_weights(splits, method) for method in (MMLoRA(alone_epochs=9), Unimodal()))
    for name, values in plain(found).items():
        assert torch.equal(values, reference[name]), name
    assert not any(values.any() for name, values in found.items() if name.endswith(".0.b"))


def second_phase(splits: Splits, method: MMLoRA) -> Trainer:
    """Convolutions with batch statistics."""
    trainer = small_trainer(splits, method, encoders={})
    trainer.epoch = method.alone_epochs
    return trainer


def test_the_second_phase_moves_adapters_and_heads_alone(splits: Splits) -> None:
    trainer = second_phase(splits, MMLoRA(rank=2))
    before = weights.take(trainer.model)
    trainer.train_epoch([first_batch(splits)] * 2, 0.01)
    after = weights.take(trainer.model)
    moved = {name for name, values in after.items() if not torch.equal(values, before[name])}
    wanted = {name for name in after if ".head." in name or name.endswith((".0.a", ".0.b"))}
    assert moved == wanted
    assert any("running_mean" in name for name in after)


def test_the_second_phase_follows_the_mean_of_the_logits(splits: Splits) -> None:
    trainer, batch = second_phase(splits, MMLoRA(rank=2)), first_batch(splits)
    model = trainer.model
    set_b(model)
    found = gradients(trainer, batch)
    model.eval()
    logits = model(batch.inputs).logits
    mean = torch.stack([logits[name] for name in model.branches]).mean(dim=0)
    cross_entropy(mean, batch.labels).backward()
    for name, weight in model.named_parameters():
        trained = ".head." in name or name.endswith((".0.a", ".0.b"))
        assert torch.allclose(found[name], weight.grad if trained else torch.zeros_like(weight), atol=1e-6), name


def test_some_modalities_alone_are_adapted(splits: Splits) -> None:
    trainer = small_trainer(splits, METHODS.build({"name": "mmlora", "modalities": ["m1"], "rank": 2}))
    found = {name: any(adapters(trainer.model.branch(name).encoder)) for name in trainer.model.branches}
    assert found == {name: name == "m1" for name in trainer.model.branches}


def test_alpha_is_the_strength_times_the_rank(splits: Splits) -> None:
    for alpha, scale in ((None, 1.0), (1.0, 0.25)):
        model = small_trainer(splits, MMLoRA(rank=4, alpha=alpha)).model
        assert {adapter.scale for adapter in adapters(model)} == {scale}


def test_a_narrow_layer_has_an_adapter_of_its_own_rank() -> None:
    network = nn.Sequential(nn.Linear(3, 20), nn.Linear(20, 10))
    add_adapters(network, 8, 1.0)
    assert [len(adapter.a) for adapter in adapters(network)] == [3, 8]


def model_of(splits: Splits, encoder: Encoder) -> MultimodalModel:
    meta = splits[Split.TRAIN].meta
    return build_model(meta, dict.fromkeys(meta.modalities, encoder), 0)


def test_what_cannot_be_adapted_is_refused(splits: Splits) -> None:
    with pytest.raises(
        ValueError, match=r"mmlora, modality 'm0': rank 31 is above the largest .*, 30 \(`modalities`"
    ):
        MMLoRA(rank=31).prepare(model_of(splits, MLP(width=30)))
    with pytest.raises(ValueError, match="modalities: 'sound' is none of m0, m1"):
        MMLoRA(modalities=("sound",)).check_shapes({"m0": (1,), "m1": (1,)})
    with pytest.raises(ValueError, match="recurrent layers"):
        add_adapters(nn.Sequential(nn.Linear(5, 5), GRU().build(MODALITIES["sequence"])), 2, 1.0)


def test_what_is_exported_has_no_adapters_and_says_the_same(splits: Splits) -> None:
    method, batch = MMLoRA(rank=3, alone_epochs=1), first_batch(splits)
    trained, given = model_of(splits, MLP(width=8)), model_of(splits, MLP(width=8))
    method.prepare(trained)
    set_b(trained)
    wanted = trained.eval()(batch.inputs).logits
    method.export(trained)
    assert torch.allclose(trained(batch.inputs).logits[FUSED], wanted[FUSED], atol=1e-5)
    method.prepare_exported(given)
    given.load_state_dict(trained.state_dict())
    assert not any(isinstance(part, Adapter) for part in given.modules())
    for name, values in given.eval()(batch.inputs).logits.items():
        assert torch.allclose(values, wanted[name], atol=1e-5), name
