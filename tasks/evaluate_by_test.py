"""The weights of every epoch and the test split -> metrics by epoch, of which papers report the best.

They are too high, because the epoch is chosen on the pairs that it is judged on. `bss reproduce` puts them beside the
published figures; no stage and no other page reads them.
"""

import tasks
from bss.files import write_json
from bss.paths import HERE, Cell
from bss.types import Split


def evaluate_by_test(method: tasks.MethodName, scheduler: tasks.SchedulerName, seed: tasks.Seed) -> None:
    """Judge every epoch of one cell, and remove its weights."""
    params = tasks.params()

    from bss.data.packed import open_split
    from bss.evaluation.judging.weights import judged
    from bss.training.epoch_weights import every_epoch
    from bss.training.weights import WEIGHTS

    cell = Cell(method, scheduler, seed)
    test = open_split(HERE.packed, Split.TEST)
    with every_epoch(HERE.epochs(cell), HERE.run(cell) / WEIGHTS) as folders:
        epochs = []
        for folder in folders:
            epochs.append(dict(judged(params, method, seed, folder, test).metrics))
            tasks.progress(len(folders), len(epochs), {})
        write_json({"test": test.fingerprint, "epochs": epochs}, HERE.by_test(cell))


if __name__ == "__main__":
    tasks.run(evaluate_by_test)
