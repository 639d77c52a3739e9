"""Fusions: the contract over all of them, and each formula against a slow one."""

from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bss import seeds
from bss.data.packed import Meta, ModalityMeta
from bss.encoders.encoder import ENCODERS
from bss.encoders.fusions.attention import Attention
from bss.encoders.fusions.film import Film
from bss.encoders.fusions.fusion import FUSIONS
from bss.encoders.fusions.gated import Gated
from bss.encoders.fusions.sum import Sum
from bss.model import build_model
from bss.params import load
from tests.project.test_params import changed

WIDTHS = {f"m{number}": 5 + 3 * number for number in range(6)}


def parts(number: int, batch: int = 4) -> tuple[dict[str, int], dict[str, Tensor]]:
    widths = dict(list(WIDTHS.items())[:number])
    generator = torch.Generator().manual_seed(0)
    return widths, {name: torch.randn(batch, width, generator=generator) for name, width in widths.items()}


def built(spec: Any, number: int) -> tuple[Any, dict[str, Tensor]]:
    widths, features = parts(number)
    torch.manual_seed(0)
    fusion = FUSIONS.example(spec) if isinstance(spec, str) else spec
    return fusion.build(widths, 3), features


@pytest.mark.parametrize("number", [2, 3, 6])
@pytest.mark.parametrize("name", list(FUSIONS))
def test_a_fusion_joins_any_number_of_modalities(name: str, number: int) -> None:
    network, features = built(name, number)
    logits = network(features)
    assert logits.shape == (4, 3)
    for modality in features:
        other = {**features, modality: features[modality] + 1}
        assert not torch.allclose(network(other), logits), f"{modality} counts"
    assert torch.allclose(network({key: rows[1:2] for key, rows in features.items()}), logits[1:2], atol=1e-6)
    again, _ = built(name, number)
    assert torch.equal(again(features), logits)
    (logits * torch.randn_like(logits)).sum().backward()
    for part, weight in network.named_parameters():
        assert weight.grad is not None, part
        assert weight.grad.abs().sum() > 0, part


@pytest.mark.parametrize("number", [2, 3, 6])
@pytest.mark.parametrize("name", list(FUSIONS))
def test_missing_modalities_leave_no_nan(name: str, number: int) -> None:
    network, features = built(name, number)
    for missing in ([*features][:1], [*features][1:], [*features]):
        given = {key: rows * (key not in missing) for key, rows in features.items()}
        network.zero_grad()
        logits = network(given)
        logits.sum().backward()
        assert logits.isfinite().all()
        assert all(weight.grad.isfinite().all() for weight in network.parameters())


def test_sum_is_the_slow_one() -> None:
    network, features = built(Sum(width=8), 3)
    total = sum((features[name] @ network.projections[name].weight.T).clamp(min=0) for name in features)
    assert torch.allclose(network(features), total @ network.head.weight.T + network.head.bias, atol=1e-6)


def test_gated_is_the_slow_one() -> None:
    network, features = built(Gated(width=8), 3)
    joined = torch.cat(list(features.values()), dim=1)
    total = torch.zeros(4, 8)
    for name, rows in features.items():
        gate = 1 / (1 + (-(joined @ network.gates[name].weight.T + network.gates[name].bias)).exp())
        total += gate * torch.tanh(rows @ network.projections[name].weight.T)
    assert torch.allclose(network(features), total @ network.head.weight.T + network.head.bias, atol=1e-6)


@pytest.mark.parametrize("base", [None, "m1"])
def test_film_is_the_slow_one(base: str | None) -> None:
    network, features = built(Film(width=8, base=base), 3)
    base = base or "m0"
    others = torch.cat([rows for name, rows in features.items() if name != base], dim=1)
    said = others @ network.modulation.weight.T + network.modulation.bias
    own = features[base] @ network.projection.weight.T + network.projection.bias
    hidden = ((1 + said[:, :8]) * own + said[:, 8:]).clamp(min=0)
    assert torch.allclose(network(features), hidden @ network.head.weight.T + network.head.bias, atol=1e-6)


def test_attention_is_the_slow_one() -> None:
    network, features = built(Attention(width=8, num_heads=2), 3)
    rows = []
    for sample in range(4):
        tokens = [network.projections[name].weight @ values[sample] for name, values in features.items()]
        told = [token + network.kinds[place] for place, token in enumerate(tokens)]
        seen = []
        for asker in told:
            heads = []
            for part in (slice(0, 4), slice(4, 8)):
                query = (network.query.weight @ asker)[part]
                fits = [(query @ (network.key.weight @ token)[part]).item() / sqrt(4) for token in tokens]
                shares = torch.tensor(fits).softmax(0)
                heads.append(
                    sum(
                        share * (network.value.weight @ token)[part]
                        for share, token in zip(shares, tokens, strict=True)
                    )
                )
            seen.append(network.out.weight @ torch.cat(heads))
        rows.append(sum(token + found for token, found in zip(tokens, seen, strict=True)) / 3)
    slow = torch.stack(rows) @ network.head.weight.T + network.head.bias
    assert torch.allclose(network(features), slow, atol=1e-5)


def test_concatenation_has_the_weights_and_the_bits_of_a_linear_layer() -> None:
    modality = ModalityMeta(kind="features", shape=(6,), mean=0, std=1, encoder="mlp")
    meta = Meta(dataset="x", classes=tuple("abc"), modalities={"a": modality, "b": modality}, num_pairs={})
    with torch.random.fork_rng():
        torch.manual_seed(seeds.integer(5, "weights of the fusion"))
        plain = nn.Linear(128, 3)
    inputs = {name: torch.randn(4, 6) for name in "ab"}
    for fusion in (None, FUSIONS.build("concat")):
        model = build_model(meta, {"a": ENCODERS.build("mlp")}, 5, fusion)
        logits, features = model(inputs)
        assert {name: tuple(rows.shape) for name, rows in model.fusion.state_dict().items()} == {
            "weight": (3, 128),
            "bias": (3,),
        }
        assert torch.equal(model.fusion.weight, plain.weight)
        assert torch.equal(logits["fused"], plain(torch.cat([features["a"], features["b"]], dim=1)))
    assert build_model(meta, {}, 5, Gated(width=7)).fusion.head.in_features == 7


def test_what_cannot_be_joined_is_refused(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="unknown modality 'sound'"):
        built(Film(base="sound"), 2)
    with pytest.raises(ValueError, match="film joins two modalities or more"):
        built(Film(), 1)
    with pytest.raises(ValueError, match="width 6 is not a multiple of num_heads 4"):
        Attention(width=6)
    with pytest.raises(ValueError, match="fusion: unknown fusion 'gatd'; did you mean 'gated'"):
        load(changed(tmp_path, "fusion", "gatd"))
    with pytest.raises(ValueError, match="fusion: is missing"):
        load(changed(tmp_path, "fusion", ...))
    assert load(changed(tmp_path, "fusion", {"name": "gated", "width": 9})).fusion == Gated(width=9)
