"""The page of gain against damage, from studies of made-up numbers."""

import json
from pathlib import Path

import pytest

from bss.errors import InputError
from docs import damage
from docs.marked import END, begin


def test_the_page_has_a_row_a_share_and_a_figure_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(damage, "PAGE", tmp_path / "damage.md")
    monkeypatch.setattr(damage, "IMAGES", tmp_path)
    damage.PAGE.write_text(f"Before\n\n{begin(damage.COMMAND)}\n\n{END}\n")
    for kind, share, gain in (("swap", "0_0", 0.001), ("swap", "0_4", 0.02), ("noise", "0_4", -0.01)):
        folder = Path(f"reports/compare/damage-tiny-damage_kind_{kind}-damage_{share}")
        folder.mkdir(parents=True)
        rows = [
            {"label": "random", "accuracy": 0.9, "difference": None, "low": None, "high": None},
            {"label": "matched", "accuracy": 0.9 + gain, "difference": gain, "low": gain - 0.01, "high": gain + 0.01},
        ]
        (folder / "table.json").write_text(json.dumps(rows))
    damage.main(["tiny"])
    text = damage.PAGE.read_text()
    lines = [line for line in text.splitlines() if line.startswith("| tiny")]
    assert lines == [
        "| tiny | swap | 0 % | 90.0 | +0.1 [-0.9, +1.1] |",
        "| tiny | swap | 40 % | 90.0 | +2.0 [+1.0, +3.0] |",
        "| tiny | noise | 40 % | 90.0 | -1.0 [-2.0, +0.0] |",
    ]
    assert "![gain against damage on tiny](images/damage-tiny.png)" in text
    assert (tmp_path / "damage-tiny.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="has no damage-other"):
        damage.main(["other"])
