"""The state of models and optimizers, whole, however their weights are spread over ranks."""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

WEIGHTS = "model.safetensors"
"""The file of a model's weights, in the folder of the stage that made them."""


def take(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights and buffers on the CPU, by name; every rank has to ask for it."""
    return {name: _whole(values).cpu().clone() for name, values in model.state_dict().items()}


def give(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights and buffers, or some of them, into the model; every rank gives the same."""
    own = model.state_dict()
    with torch.no_grad():
        for name, values in weights.items():
            own[name].copy_(_spread_like(own[name], values))


def take_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state; as `take`, without copying what is on the CPU."""
    return cast(dict[str, Any], _mapped(optimizer.state_dict()))


def give_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Put back what `take_optimizer` took; as `give`."""
    held = [weight for group in optimizer.param_groups for weight in group["params"]]
    spread = {
        number: {
            name: _spread_like(held[number], values) if _is_like(held[number], values) else values
            for name, values in of_one.items()
        }
        for number, of_one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": spread})


def _is_like(weight: Tensor, values: Any) -> bool:
    return isinstance(values, Tensor) and values.shape == weight.shape


def _whole(values: Tensor) -> Tensor:
    return values.full_tensor() if hasattr(values, "full_tensor") else values


def _spread_like(own: Tensor, values: Tensor) -> Tensor:
    if not hasattr(own, "full_tensor"):
        return values
    from torch.distributed.tensor import DTensor, distribute_tensor

    sharded = cast(DTensor, own)
    return distribute_tensor(values.to(own.device), sharded.device_mesh, sharded.placements)


def _mapped(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _whole(value)
    if isinstance(value, Mapping):
        return {key: _mapped(item) for key, item in value.items()}
    return [_mapped(item) for item in value] if isinstance(value, list | tuple) else value
