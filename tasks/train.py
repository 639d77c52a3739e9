"""Sequences -> a trained model, its history, and how often each training pair was drawn."""

import tasks
from bss.paths import HERE, Cell


def train(method: tasks.MethodName, scheduler: tasks.SchedulerName, seed: tasks.Seed) -> None:
    """Train one cell of the grid on the training split, and keep its best epoch on the validation split."""
    params = tasks.params()

    from bss.training.cell import train_cell

    train_cell(params, Cell(method, scheduler, seed), HERE, tasks.progress)


if __name__ == "__main__":
    tasks.run(train)
