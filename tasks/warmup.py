"""Packed training split -> warmed-up weights, and what they say of every training pair."""

import tasks
from bss.paths import HERE


def warmup(seed: tasks.Seed) -> None:
    """Train in random order for `warmup.epochs`, then collect the evidence in one clean pass."""
    params = tasks.params()

    from bss.training.warmup import warm_up_cell

    warm_up_cell(params, seed, HERE, tasks.progress)


if __name__ == "__main__":
    tasks.run(warmup)
