"""Evidence -> criteria and balance score of every training and validation pair."""

import tasks
from bss.files import replaced
from bss.paths import HERE
from bss.types import FUSED, Split


def score(seed: tasks.Seed) -> None:
    """Score the evidence of one seed's warm-up by the criteria of params.yaml."""
    settings = tasks.params().score

    import polars as pl

    from bss.data.packed import open_split
    from bss.measure.evidence import read_evidence
    from bss.measure.score import score_table

    extents = None
    for split, place in {Split.TRAIN: HERE.scores(seed), Split.VALIDATION: HERE.held_out(seed)}.items():
        packed = open_split(HERE.packed, split)
        evidence = read_evidence(HERE.evidence(seed, split), [*packed.meta.modalities, FUSED])
        table = score_table(evidence, settings.criteria, settings.others, over=extents)
        if extents is None:
            columns = {name: table[name].to_numpy() for name in (*settings.criteria, *settings.others)}
            extents = {name: (float(column.min()), float(column.max())) for name, column in columns.items()}
        with replaced(place) as temporary:
            table.insert_column(0, pl.Series("id", packed.ids)).with_row_index("index").write_parquet(temporary)


if __name__ == "__main__":
    tasks.run(score)
