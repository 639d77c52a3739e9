"""The page of gain against damage, from runs of made-up numbers."""

from pathlib import Path

import polars as pl
import pytest

from docs import damage, runs
from docs.marked import END, begin


def test_the_page_has_a_row_a_share_and_a_figure_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "PAGE", tmp_path / "damage.md")
    monkeypatch.setattr(damage, "IMAGES", tmp_path)
    monkeypatch.setattr(runs, "FOLDER", tmp_path)
    damage.PAGE.write_text(f"Before\n\n{begin(damage.COMMAND)}\n\n{END}\n")
    made = [
        {
            "study": f"damage-tiny-damage_kind_{kind}-damage_{share}",
            "method": "joint",
            "scheduler": scheduler,
            "seed": seed,
            "fold": None,
            "accuracy": 0.9 + (scheduler == "matched") * (gain + (seed - 1) * 0.004),
            "macro_f1": 0.9,
            "validation_accuracy": 0.9,
            "num_steps": 10,
            "num_samples": 100,
        }
        for kind, share, gain in (("swap", "0_0", 0.001), ("swap", "0_4", 0.02), ("noise", "0_4", -0.01))
        for scheduler in ("random", "matched")
        for seed in range(3)
    ]
    (tmp_path / "damage-tiny.csv").write_text(f"# commit abc\n{pl.DataFrame(made).write_csv()}")
    damage.main()
    text = damage.PAGE.read_text()
    lines = [line for line in text.splitlines() if line.startswith("| tiny")]
    assert lines == [
        "| tiny | swap | 0 % | 90.0 | +0.1 [-0.9, +1.1] |",
        "| tiny | swap | 40 % | 90.0 | +2.0 [+1.0, +3.0] |",
        "| tiny | noise | 40 % | 90.0 | -1.0 [-2.0, +0.0] |",
    ]
    assert "![gain against damage on tiny](images/damage-tiny.png)" in text
    assert (tmp_path / "damage-tiny.png").stat().st_size > 10_000
