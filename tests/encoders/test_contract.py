"""What holds for every encoder of the registry."""

from typing import Any

import pytest
import torch

from bss.data.packed import ModalityMeta
from bss.encoders.encoder import ENCODERS
from tests.helpers.encoders import MODALITIES, NUM_EXAMPLES, accepted, examples, made_up

NIGHTLY = {"resnet50"}
"""Large, and made of what a smaller one is."""
EXAMPLES = [
    pytest.param(name, number, id=f"{name}-{number}", marks=[pytest.mark.nightly] if name in NIGHTLY else [])
    for name in ENCODERS
    for number in range(NUM_EXAMPLES.get(name, 1))
]
of_every_encoder = pytest.mark.parametrize(("name", "number"), EXAMPLES)


def network_of(name: str, number: int, modality: ModalityMeta, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return examples(name)[number].build(modality)


def networks(name: str, number: int, limit: int | None = None) -> list[tuple[Any, torch.Tensor]]:
    """An encoder's network for each modality that it takes, or for the first of them, with samples of it."""
    modalities = list(accepted(examples(name)[number]).values())[:limit]
    assert modalities, "it takes none of the modalities that there are"
    return [
        (network_of(name, number, modality), torch.from_numpy(made_up(modality, 5)).float())
        for modality in modalities
    ]


@pytest.mark.parametrize("name", list(ENCODERS))
def test_every_example_of_an_encoder_is_tested(name: str) -> None:
    assert len(examples(name)) == NUM_EXAMPLES.get(name, 1)


@of_every_encoder
def test_an_encoder_maps_a_batch_to_its_width(name: str, number: int) -> None:
    for network, values in networks(name, number):
        network.eval()
        features = network(values)
        assert features.shape == (5, network.dim)
        assert features.dtype == torch.float32
        assert features.isfinite().all()
        assert torch.equal(network(values), features), "eval mode repeats"
        assert torch.allclose(network(values[2:3]), features[2:3], atol=1e-5, rtol=1e-4)
        assert not torch.allclose(features[0], features[1]), "samples are distinguished"


@of_every_encoder
@pytest.mark.parametrize("limit", [1, pytest.param(None, marks=pytest.mark.nightly, id="every modality")])
def test_a_gradient_reaches_every_weight_that_is_trained(name: str, number: int, limit: int | None) -> None:
    encoder = examples(name)[number]
    for network, values in networks(name, number, limit):
        assert network.training
        features = network(values)
        if getattr(encoder, "freeze", False):
            assert not any(weight.requires_grad for weight in network.parameters())
            continue
        (features * torch.randn_like(features)).sum().backward()
        untouched = [
            part for part, weight in network.named_parameters() if weight.requires_grad and weight.grad is None
        ]
        assert not untouched
        reached = [weight.grad.abs().sum() > 0 for weight in network.parameters() if weight.grad is not None]
        assert sum(reached) >= len(reached) / 2 > 0, "at first an adapter's second factor is zero, so the first waits"


@of_every_encoder
def test_the_same_seed_gives_an_encoder_the_same_weights(name: str, number: int) -> None:
    modality = next(iter(accepted(examples(name)[number]).values()))
    first, second, other = (network_of(name, number, modality, seed).state_dict() for seed in (0, 0, 1))
    for part, values in first.items():
        assert torch.equal(values, second[part]), part
    alike = [torch.equal(values, other[part]) for part, values in first.items()]
    own = name == "huggingface" and getattr(examples(name)[number], "lora_rank", None) is None
    assert all(alike) == own, "what was read from a file has no seed"


@of_every_encoder
def test_an_encoder_is_the_same_after_its_state_was_put_back(name: str, number: int) -> None:
    modality = next(iter(accepted(examples(name)[number]).values()))
    values = torch.from_numpy(made_up(modality, 5)).float()
    first, other = (network_of(name, number, modality, seed) for seed in (0, 1))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(values), other.eval()(values))


@of_every_encoder
def test_an_encoder_says_what_it_takes_instead(name: str, number: int) -> None:
    encoder = examples(name)[number]
    refused = [modality for modality in MODALITIES.values() if modality not in accepted(encoder).values()]
    assert refused
    for modality in refused:
        with pytest.raises(ValueError, match=f"{name} takes .*, got ") as error:
            encoder.build(modality)
        assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_encoder_of_a_kind_takes_it(modality: str) -> None:
    assert modality in accepted(ENCODERS.build(MODALITIES[modality].encoder))
