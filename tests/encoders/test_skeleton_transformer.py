"""skeleton_transformer against a slow, obvious reference, and small_cnn over one and three sides."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d, conv3d, layer_norm, relu

from bss.data.packed import ModalityMeta
from bss.encoders.skeleton_transformer import SkeletonTransformer
from bss.encoders.small_cnn import SmallCNN

BODY = ModalityMeta(kind="skeleton", shape=(5, 8), mean=0, std=1, encoder="gru", dimensions=2)
WIDTH = 6


def embedded(part: Any, tokens: Tensor) -> Tensor:
    hidden = layer_norm(tokens @ part[0].weight.T + part[0].bias, [WIDTH], part[1].weight, part[1].bias)
    out: Tensor = relu(hidden) @ part[3].weight.T + part[3].bias
    return out


def attended(layer: Any, tokens: Tensor) -> Tensor:
    """One head, one sample, a token at a time; normalised after each half, as published."""
    q, k, v = (tokens @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(3, dim=1)
    looks = torch.stack([torch.softmax(k @ q[place] / math.sqrt(WIDTH), 0) @ v for place in range(len(tokens))])
    own = layer.self_attn.out_proj
    tokens = layer_norm(tokens + looks @ own.weight.T + own.bias, [WIDTH], layer.norm1.weight, layer.norm1.bias)
    hidden = relu(tokens @ layer.linear1.weight.T + layer.linear1.bias) @ layer.linear2.weight.T + layer.linear2.bias
    return layer_norm(tokens + hidden, [WIDTH], layer.norm2.weight, layer.norm2.bias)


@pytest.mark.parametrize("training", [True, False])
def test_a_body_is_read_by_frames_and_by_joints(training: bool) -> None:
    torch.manual_seed(0)
    network: Any = SkeletonTransformer(width=WIDTH).build(BODY).train(training)
    values = torch.randn(3, 5, 8)
    places = torch.tensor(
        [
            [
                (math.cos if number % 2 else math.sin)(frame / 10_000 ** (number // 2 * 2 / WIDTH))
                for number in range(6)
            ]
            for frame in range(5)
        ]
    )
    slow = []
    for body in values:
        frames = torch.stack([embedded(network.frames, frame) for frame in body]) + places
        paths = [body[:, 2 * joint : 2 * joint + 2].reshape(-1) for joint in range(4)]
        joints = torch.stack([embedded(network.joints, path) for path in paths])
        read = [attended(network.over_time.layers[0], frames), attended(network.over_joints.layers[0], joints)]
        slow.append(torch.cat([tokens.max(dim=0).values for tokens in read]))
    found = network(values)
    assert torch.allclose(found, torch.stack(slow), atol=1e-5)
    assert network.dim == found.shape[1] == 2 * WIDTH
    assert not torch.allclose(network(values.flip(1)), found), "order in time matters"


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"width": 6, "num_heads": 4}, "width 6 is not a multiple of num_heads 4"), ({"width": 7}, "multiple of 2")],
)
def test_heads_and_sinusoids_share_the_width(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SkeletonTransformer(**fields)


def test_without_joints_nothing_is_known_of_a_body() -> None:
    for modality in (BODY.model_copy(update={"dimensions": None}), BODY.model_copy(update={"dimensions": 3})):
        with pytest.raises(
            ValueError, match=r"takes joints over time, as of the kind skeleton, got skeleton \(5, 8\)"
        ):
            SkeletonTransformer().build(modality)


def test_convolutions_go_over_the_steps_of_a_sequence() -> None:
    torch.manual_seed(0)
    about = ModalityMeta(kind="sequence", shape=(16, 3), mean=0, std=1, encoder="gru")
    network: Any = SmallCNN(width=4, num_blocks=2).build(about).eval()
    steps = torch.randn(2, 16, 3)
    steps[1, 10:] = torch.nan
    slow = steps.nan_to_num().transpose(1, 2)
    for weight in (network[1].weight, network[4].weight):
        slow = relu(conv1d(slow, weight, stride=2, padding=1) / math.sqrt(1 + 1e-5))
    assert torch.allclose(network(steps), torch.stack([slow[..., :2].mean(2), slow[..., 2:].mean(2)], 2).flatten(1))
    assert network.dim == 16


def test_convolutions_go_over_the_frames_of_a_video() -> None:
    torch.manual_seed(0)
    about = ModalityMeta(kind="depth", shape=(1, 6, 8, 12), mean=0, std=1, encoder="small_cnn")
    network: Any = SmallCNN(width=4, num_blocks=1).build(about).eval()
    videos = torch.randn(2, 1, 6, 8, 12)
    maps = relu(conv3d(videos, network[0].weight, stride=2, padding=1) / math.sqrt(1 + 1e-5))
    slow = {}  # three frames in windows of two, of which the last has one; four rows, six columns
    for time, frames in enumerate([slice(0, 2), slice(2, 3)]):
        for row in range(2):
            for column in range(2):
                window = maps[:, :, frames, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
                slow[row, column, time] = window.mean(dim=(2, 3, 4))
    found = network(videos).reshape(2, 4, 2, 2, 2)
    for (row, column, time), means in slow.items():
        assert torch.allclose(found[:, :, row, column, time], means, atol=1e-6)
