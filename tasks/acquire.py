"""What the model of the round before said -> more labelled pairs, a model of them, and its word on all pairs."""

from typing import Annotated

import typer

import tasks
from bss.paths import HERE, Round


def acquire(
    acquisition: tasks.AcquisitionName,
    seed: tasks.Seed,
    number: Annotated[int, typer.Option("--round.number", help="Of the round; the first labels are random.")] = 0,
    before: Annotated[int, typer.Option("--round.before", help="Number of the round before.")] = 0,
) -> None:
    """Take one round of active learning."""
    params = tasks.params()

    from bss.training.rounds import train_round

    train_round(params, Round(acquisition, seed, number), HERE, tasks.progress)


if __name__ == "__main__":
    tasks.run(acquire)
