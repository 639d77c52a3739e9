"""One reading of a file: the library and DVC find the same values in params.yaml."""

import math
from typing import Any

import pytest
from ruamel.yaml import YAML

from bss.parsing import dumped, parsed

SCALARS = [
    *("010", "-010", "08", "0o10", "+0o7", "0x1F", "-0x1f", "0b11", "1_000", "1__0", "_1", "0"),
    *("+1", "1e3", "1e-05", "1.5E-3", ".5e3", ".5e+3", "1.", ".5", "-.5", "1e", "0xg", "yes"),
    *("no", "on", "off", "y", "True", "tRUE", "null", "Null", "~", ".inf", "-.inf", ".nan"),
    *("12:30", "1:30:00", "2020-01-01", "2020-01-01T00:00:00", "a<<b", "-x"),
]


def by_dvc(text: str) -> Any:
    return YAML(typ="safe").load(text)["x"]


@pytest.mark.parametrize("scalar", [*SCALARS, ""])
def test_a_scalar_is_what_dvc_reads(scalar: str) -> None:
    found, wanted = parsed(f"x: {scalar}\n")["x"], by_dvc(f"x: {scalar}\n")
    assert type(found) is type(wanted)
    assert found == wanted or (math.isnan(found) and math.isnan(wanted))


@pytest.mark.parametrize("text", [*SCALARS, "", "=", "<<", " a ", "a: b", "- a", "ä\nb", "#", "'", '"'])
def test_a_text_that_is_written_stays_a_text(text: str) -> None:
    written = dumped({"x": text})
    assert parsed(written)["x"] == by_dvc(written) == text


@pytest.mark.parametrize("value", [10, -1, 0, 1e-05, 1e300, 0.1, True, None, math.inf, [1, "010"], {"on": "off"}])
def test_a_value_that_is_written_is_read_back(value: Any) -> None:
    written = dumped({"x": value})
    assert parsed(written)["x"] == by_dvc(written) == value
