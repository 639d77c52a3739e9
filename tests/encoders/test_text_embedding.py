"""A bag of embeddings against a slow reference, and what it refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bss.data.packed import ModalityMeta
from bss.encoders.mlp import MLP
from bss.encoders.text_embedding import TextEmbedding
from bss.model import Branch

WORDS = ModalityMeta(
    kind="text", shape=(4,), mean=0, std=1, encoder="text_embedding", tokens=("<pad>", "<unknown>", "a", "b", "c")
)
IDS = torch.tensor([[2, 3, 0, 0], [4, 4, 2, 4], [1, 0, 0, 0], [0, 0, 0, 0], [0, 3, 0, 2]], dtype=torch.int32)


def network(hidden: bool = False) -> Any:
    torch.manual_seed(0)
    return TextEmbedding(width=6, hidden=hidden).build(WORDS)


def slow_mean(weight: Tensor, ids: Tensor) -> Tensor:
    rows = []
    for sample in ids.tolist():
        words = [weight[number] for number in sample if number != 0]
        rows.append(sum(words, torch.zeros(weight.shape[1])) / max(len(words), 1))
    return torch.stack(rows)


def test_it_is_the_mean_of_the_words_that_are_no_padding() -> None:
    bag = network()
    assert torch.allclose(bag(IDS.float()), slow_mean(bag[0].weight, IDS), atol=1e-6)


def test_padding_is_that_of_the_tokenizer() -> None:
    modality = ModalityMeta(
        kind="text", shape=(4,), mean=0, std=1, encoder="text_embedding", tokens=tuple("abcdef"), padding=3
    )
    bag: Any = TextEmbedding(width=6).build(modality)
    found = bag(torch.tensor([[0.0, 2, 3, 3], [1, 1, 4, 3]]))
    weight = bag[0].weight
    assert torch.allclose(found[0], (weight[0] + weight[2]) / 2, atol=1e-6)
    assert torch.allclose(found[1], (2 * weight[1] + weight[4]) / 3, atol=1e-6)
    assert bool(weight[1].any()), "1 is a word as any other here"


def test_the_hidden_layer_follows() -> None:
    bag = network(hidden=True)
    mean = slow_mean(bag[0].weight, IDS)
    assert torch.allclose(bag(IDS.float()), (mean @ bag[1].weight.T + bag[1].bias).clamp(min=0), atol=1e-6)


def test_nothing_but_padding_gives_zeros() -> None:
    assert network()(torch.zeros(2, 4)).tolist() == [[0] * 6] * 2


def test_the_order_of_the_words_does_not_matter() -> None:
    assert torch.allclose(network()(IDS.float()), network()(IDS.flip(1).float()), atol=1e-6)


def test_the_gradient_is_that_of_the_slow_mean_and_passes_by_the_padding() -> None:
    bag, factors = network(), torch.randn(5, 6)
    (bag(IDS.float()) * factors).sum().backward()
    found = bag[0].weight.grad
    weight = bag[0].weight.detach().clone().requires_grad_()
    (slow_mean(weight, IDS) * factors).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(found, weight.grad, atol=1e-6)
    assert found[0].abs().sum() == 0


def test_an_unknown_word_says_nothing_at_first() -> None:
    bag = network()
    assert bag(torch.tensor([[1.0, 0, 0, 0]])).abs().sum() == 0
    assert bag[0].weight[2:].abs().min() > 0


def test_a_branch_gives_it_whole_numbers() -> None:
    large = WORDS.model_copy(update={"tokens": tuple(map(str, range(70_000)))})
    for modality, ids in [(WORDS, IDS), (large, torch.tensor([[69_999, 69_998, 0, 0]], dtype=torch.int32))]:
        bag = TextEmbedding(width=6).build(modality)
        features, logits = Branch(bag, 3, modality.mean, modality.std)(ids)
        assert torch.allclose(features, bag(ids), atol=1e-6)
        assert logits.shape == (len(ids), 3)


def test_half_precision_leaves_the_ids_alone() -> None:
    modality = WORDS.model_copy(update={"tokens": tuple(map(str, range(5000)))})
    branch = Branch(TextEmbedding(width=6).build(modality), 3, 0, 1)
    ids = torch.tensor([[4999, 0, 0, 0], [4998, 0, 0, 0]], dtype=torch.int32)
    with torch.autocast("cpu", torch.bfloat16):
        features, _ = branch(ids)
    assert not torch.equal(features[0], features[1])
    assert torch.allclose(features[0], branch(ids)[0][0], atol=1e-2)


def test_quantities_are_refused_and_so_are_words_where_quantities_are_taken() -> None:
    numbers = ModalityMeta(kind="features", shape=(4,), mean=0, std=1, encoder="mlp")
    with pytest.raises(ValueError, match=r"text_embedding takes the ids of words, got .* \(4,\)"):
        TextEmbedding().build(numbers)
    with pytest.raises(ValueError, match="mlp takes quantities, got the ids of words"):
        MLP().build(WORDS)
