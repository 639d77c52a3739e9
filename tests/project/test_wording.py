"""Numbers in sentences."""

from bss.wording import counted


def test_a_number_agrees_with_its_noun() -> None:
    found = [counted(*pair) for pair in ((1, "row"), (0, "row"), (1200, "row"), (1, "class"), (2, "class"))]
    assert found == ["1 row", "0 rows", "1,200 rows", "1 class", "2 classes"]
