"""The models of all rounds of a curve of active learning and the test split -> metrics by the number of labels."""

import tasks
from bss.files import existing, write_json
from bss.paths import HERE, Round
from bss.types import Split


def evaluate_active(acquisition: tasks.AcquisitionName, seed: tasks.Seed) -> None:
    """Judge the rounds of one acquisition; what it asked for depends on nothing that is found here."""
    params = tasks.params()

    import polars as pl

    from bss.data.packed import open_split
    from bss.evaluation.judging.weights import judged

    test = open_split(HERE.packed, Split.TEST)
    rounds = []
    for number in range(len(params.active.rounds) + 1):
        folder = HERE.round(Round(acquisition, seed, number))
        judgement = judged(params, params.active.method, seed, folder, test)
        num_labels = len(pl.read_parquet(existing(folder / "labelled.parquet"), columns=["index"]))
        rounds.append({"num_labels": num_labels, "outputs": judgement.metrics})
    write_json({"test": test.fingerprint, "rounds": rounds}, HERE.curve(acquisition, seed))


if __name__ == "__main__":
    tasks.run(evaluate_active)
