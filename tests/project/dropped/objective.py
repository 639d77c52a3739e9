"""Joint training with a share of the fused loss."""

from bss.training.objectives.objective import Objective


class Dropped(Objective):
    """The fused loss weighs less."""

    fused_weight: float = 0.5
