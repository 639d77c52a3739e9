"""Scores -> the order, the pacing curve and the index sequences of one scheduler."""

import tasks
from bss.files import existing
from bss.paths import HERE


def curriculum(scheduler: tasks.SchedulerName, seed: tasks.Seed) -> None:
    """Lay out `curriculum.epochs` epochs of the scheduler that params.yaml defines under that name."""
    settings = tasks.params().curriculum

    import polars as pl

    from bss.curriculum.plan import order_table, sequence_table, write_plan
    from bss.registry import lookup

    component = lookup("scheduler", scheduler, settings.schedulers)
    scores = pl.read_parquet(existing(HERE.scores(seed)), columns=["id", *component.criteria])
    values = component.scored({name: scores[name].to_torch() for name in component.criteria}).numpy()
    order = order_table(component, scores["id"], values)
    sequence = sequence_table(component, values, seed, settings.epochs)
    write_plan(HERE.curriculum(scheduler, seed), order, sequence)


if __name__ == "__main__":
    tasks.run(curriculum)
