"""The discrepancy ratio, of arrays and in a table."""

import numpy as np
import polars as pl
import pytest

from bss.measure.discrepancy import discrepancy_ratio


@pytest.mark.parametrize("confidence", [[0.8, 0.4], [0.5, 0.5, 0.25], [0.9, 0.1, 0.3, 0.2]])
def test_it_is_a_modality_over_the_mean_of_the_others(confidence: list[float]) -> None:
    slow = [
        value / np.mean([other for place, other in enumerate(confidence) if place != own])
        for own, value in enumerate(confidence)
    ]
    values = np.array(confidence)
    assert discrepancy_ratio(values, values.sum(), len(values)) == pytest.approx(slow)
    column = pl.col("confidence")
    table = pl.DataFrame({"confidence": confidence}).select(discrepancy_ratio(column, column.sum(), pl.len()))
    assert table["confidence"].to_list() == pytest.approx(slow)
    if len(confidence) == 2:
        assert slow[0] == pytest.approx(2.0), "0.8 over 0.4"
