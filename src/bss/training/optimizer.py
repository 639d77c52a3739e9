"""Optimizers, and the learning rate as a function of progress."""

from collections.abc import Iterable
from math import cos, pi

import torch
from torch import nn

from bss.training.settings import Optimisation

CHECK_OF_STEP = "_accelerator_graph_capture_health_check"
"""What an optimizer of torch calls at the beginning of a step; only captured CUDA graphs need it."""


def build_optimizer(parameters: Iterable[nn.Parameter], settings: Optimisation) -> torch.optim.Optimizer:
    """The optimizer that params.yaml names."""
    optimizer = _built(parameters, settings)
    if not torch.cuda.is_available():
        # Its step looks for a driver each time, which takes as long as the update of a small model.
        setattr(optimizer, CHECK_OF_STEP, lambda: None)
    return optimizer


def _built(parameters: Iterable[nn.Parameter], settings: Optimisation) -> torch.optim.Optimizer:
    if settings.optimizer == "sgd":
        sgd = torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
        )
        # The fused step fails where some weights have a velocity and others, that had no gradient so far, have none.
        for weight in sgd.param_groups[0]["params"] if settings.momentum else ():
            sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        return sgd
    return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)


def forget_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Have an optimizer of `build_optimizer` begin anew."""
    if isinstance(optimizer, torch.optim.SGD):  # a velocity stays where it is, see `_built`
        for state in optimizer.state.values():
            for velocity in state.values():
                velocity.zero_()
    else:
        optimizer.state.clear()


def lr_factor(schedule: str, progress: float) -> float:
    """Factor on the learning rate at a progress in [0, 1): constant, half a cosine, or a tenth after each third."""
    if schedule == "cosine":
        return 0.5 * (1 + cos(pi * progress))
    return 0.1 ** int(3 * progress) if schedule == "step" else 1.0
