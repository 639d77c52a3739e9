"""Evidence -> criteria and balance score of every training pair."""

import tasks
from bss.files import replaced
from bss.paths import HERE
from bss.types import FUSED, Split


def score(seed: tasks.Seed) -> None:
    """Score the evidence of one seed's warm-up by the criteria of params.yaml."""
    params = tasks.params()

    import polars as pl

    from bss.data.packed import open_split
    from bss.measure.evidence import read_evidence
    from bss.measure.score import score_table

    train = open_split(HERE.packed, Split.TRAIN)
    outputs = [*train.meta.modalities, FUSED]
    evidence = read_evidence(HERE.warmup(seed) / "evidence.safetensors", outputs)
    table = score_table(evidence, params.score.criteria, params.score.others).insert_column(
        0, pl.Series("id", train.ids)
    )
    with replaced(HERE.scores(seed)) as temporary:
        table.with_row_index("index").write_parquet(temporary)


if __name__ == "__main__":
    tasks.run(score)
