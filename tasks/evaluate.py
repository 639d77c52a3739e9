"""A trained model and the test split, opened here alone -> metrics, predictions and confusion matrices."""

import tasks
from bss.files import existing, read_tensors, replaced, write_json
from bss.paths import HERE, Cell
from bss.types import FUSED, Split


def evaluate(method: tasks.MethodName, scheduler: tasks.SchedulerName, seed: tasks.Seed) -> None:
    """Judge one cell of the grid."""
    params = tasks.params()

    import polars as pl

    from bss.data.packed import open_split
    from bss.evaluation.judging.judgement import judge
    from bss.model import build_model
    from bss.registry import lookup
    from bss.training.runtime import Runtime

    cell = Cell(method, scheduler, seed)
    test = open_split(HERE.packed, Split.TEST)
    model = build_model(test.meta, params.encoders, seed, params.fusion)
    settings, num_workers = params.evaluate, params.flow.num_workers
    runtime = Runtime.start(params.runtime, num_workers=num_workers, model=model, num_stages=params.max_parallel)
    component = lookup("training method", method, params.methods)
    component.prepare(model)
    model.load_state_dict(read_tensors(HERE.run(cell) / "model.safetensors"))
    chooses = settings.rule == "weighted" and FUSED in component.judged([*test.meta.modalities, FUSED])
    validation = open_split(HERE.packed, Split.VALIDATION) if chooses else None
    judgement = judge(model, test, component, settings.batch_size, runtime, settings.rule, validation)
    totals = pl.read_parquet(existing(HERE.run(cell) / "history.parquet"), columns=["num_steps", "num_samples"]).max()
    facts = {"test": test.fingerprint, **judgement.rule, **judgement.equilibrium, **totals.row(0, named=True)}
    write_json({"outputs": judgement.metrics, **facts}, HERE.metrics(cell))
    for name, table in {"predictions": judgement.predictions, "confusion": judgement.confusion}.items():
        with replaced(HERE.predictions(cell) / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)


if __name__ == "__main__":
    tasks.run(evaluate)
