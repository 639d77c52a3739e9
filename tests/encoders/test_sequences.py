"""gru and text_transformer: what is padding changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bss.data.packed import ModalityMeta
from bss.encoders.gru import GRU
from bss.encoders.text_transformer import TextTransformer
from bss.model import Branch

STEPS = ModalityMeta(kind="sequence", shape=(6, 3), mean=0, std=1, encoder="gru")
WORDS = ModalityMeta(kind="text", shape=(6,), mean=0, std=1, encoder="mlp", tokens=tuple("abcdefghij"), padding=3)


def sequences() -> tuple[Tensor, list[int]]:
    lengths = [6, 1, 4, 2]
    values = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0))
    for row, length in enumerate(lengths):
        values[row, length:] = float("nan")
    return values, lengths


def slow_gru(network: Any, steps: Tensor, num_layers: int) -> Tensor:
    """The equations, one sample without padding, a step at a time."""
    weights: dict[str, Tensor] = dict(network.named_parameters())
    given = list(steps)
    for layer in range(num_layers):
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w, u, b, c = (weights[f"{name}_l{layer}"] for name in names)
        state, states = torch.zeros(u.shape[1]), []
        for step in given:
            (r, z, n), (p, q, m) = (w @ step + b).chunk(3), (u @ state + c).chunk(3)
            reset, update = torch.sigmoid(r + p), torch.sigmoid(z + q)
            state = (1 - update) * torch.tanh(n + reset * m) + update * state
            states.append(state)
        given = states
    last: Tensor = given[-1]
    return last


@pytest.mark.parametrize("num_layers", [1, 2])
def test_a_gru_is_the_slow_one_over_what_is_there(num_layers: int) -> None:
    torch.manual_seed(0)
    network = GRU(width=5, num_layers=num_layers).build(STEPS)
    values, lengths = sequences()
    slow = [slow_gru(network, row[:length], num_layers) for row, length in zip(values, lengths, strict=True)]
    assert torch.allclose(network(values), torch.stack(slow), atol=1e-6)


def test_a_gru_has_no_nan_and_no_gradient_from_padding() -> None:
    network = GRU(width=5).build(STEPS)
    values, lengths = sequences()
    values[0, 2, 1] = float("nan")
    given = values.clone().requires_grad_()
    found = network(given)
    found.sum().backward()
    assert given.grad is not None
    assert found.isfinite().all()
    for row, length in enumerate(lengths):
        assert given.grad[row, length:].nan_to_num().abs().sum() == 0
    filled = values.clone()
    filled[0, 2, 1] = 0
    assert torch.equal(network(filled), found)
    assert network(torch.full((2, 6, 3), float("nan"))).tolist() == [[0] * 5] * 2


def slow_reader(network: Any, ids: list[int]) -> Tensor:
    """One text cut to its words, with no mask."""
    places = [place for place, number in enumerate(ids) if number != 3]
    tokens = network.words(torch.tensor([ids[place] for place in places])) + network.places[places]
    return network.layers(tokens[None])[0].mean(dim=0)  # type: ignore[no-any-return]


@pytest.mark.parametrize("training", [True, False])
def test_a_text_is_read_as_if_it_had_no_padding(training: bool) -> None:
    torch.manual_seed(0)
    network = TextTransformer(width=8, num_heads=2).build(WORDS).train(training)
    torch.nn.init.normal_(network.words.weight)
    texts = [[1, 2, 3, 3, 3, 3], [4, 4, 0, 9, 1, 5], [3, 7, 3, 8, 3, 3]]
    slow = torch.stack([slow_reader(network, ids) for ids in texts])
    found = network(torch.tensor(texts).float())
    assert torch.allclose(found, slow, atol=1e-5)
    assert network(torch.full((2, 6), 3.0)).tolist() == [[0] * 8] * 2
    assert not torch.allclose(found[0], network(torch.tensor([[2.0, 1, 3, 3, 3, 3]]))[0]), "order matters"


def test_nothing_but_padding_leaves_the_gradient_finite() -> None:
    network = TextTransformer(width=8, num_heads=2).build(WORDS)
    network(torch.tensor([[3.0] * 6, [1, 2, 3, 3, 3, 3]])).sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def test_heads_share_the_width() -> None:
    with pytest.raises(ValueError, match="width 6 is not a multiple of num_heads 4"):
        TextTransformer(width=6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("asks_gradients", [True, False])
def test_a_recurrent_network_runs_without_cudnn_where_it_has_no_backward_pass(
    training: bool, asks_gradients: bool
) -> None:
    seen = []

    class Recurrent(nn.GRU):
        dim = 4

        def forward(self, steps: Tensor) -> Tensor:  # type: ignore[override]
            seen.append(torch.backends.cudnn.enabled)
            states: Tensor = super().forward(steps)[0]
            return states[:, -1]

    branch = Branch(Recurrent(2, 4, batch_first=True), 3, 0.0, 1.0)
    branch.train(training)
    with torch.set_grad_enabled(asks_gradients):
        branch(torch.randn(5, 6, 2))
    assert seen == [training or not asks_gradients]
    assert torch.backends.cudnn.enabled
