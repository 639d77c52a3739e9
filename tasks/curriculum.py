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
    columns = ["id", "label", *component.criteria]
    scores, held_out = (
        pl.read_parquet(existing(place), columns=columns) for place in (HERE.scores(seed), HERE.held_out(seed))
    )
    values, others = ({name: table[name].to_torch() for name in component.criteria} for table in (scores, held_out))
    first = component.scored(values, held_out=others).numpy()
    labels = scores["label"].to_numpy()
    order = order_table(component, scores["id"], first, labels)
    sequence = sequence_table(component, first, seed, settings.epochs, labels)
    write_plan(HERE.curriculum(scheduler, seed), order, sequence)


if __name__ == "__main__":
    tasks.run(curriculum)
