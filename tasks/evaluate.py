"""A trained model and the test split, opened here alone -> metrics, predictions and confusion matrices."""

import tasks
from bss.files import existing, replaced, write_json
from bss.paths import HERE, Cell
from bss.types import Split


def evaluate(method: tasks.MethodName, scheduler: tasks.SchedulerName, seed: tasks.Seed) -> None:
    """Judge one cell of the grid."""
    params = tasks.params()

    import polars as pl

    from bss.data.packed import open_split
    from bss.evaluation.judging.weights import judged

    cell = Cell(method, scheduler, seed)
    test = open_split(HERE.packed, Split.TEST)
    judgement = judged(params, method, seed, HERE.run(cell), test, probed=params.evaluate.linear_probe)
    totals = pl.read_parquet(existing(HERE.run(cell) / "history.parquet"), columns=["num_steps", "num_samples"]).max()
    facts = {
        "test": test.fingerprint,
        **judgement.rule,
        **judgement.equilibrium,
        **judgement.probes,
        **totals.row(0, named=True),
    }
    write_json({"outputs": judgement.metrics, **facts}, HERE.metrics(cell))
    for name, table in {"predictions": judgement.predictions, "confusion": judgement.confusion}.items():
        with replaced(HERE.predictions(cell) / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)


if __name__ == "__main__":
    tasks.run(evaluate)
