"""Joint training of the fusion and of every modality, as after the warm-up."""

from bss.training.objectives.objective import Objective


class Joint(Objective):
    """The joint loss, so that encoders, classifiers and fusion learn from the labels.

    Source: as of the method joint.
    """
