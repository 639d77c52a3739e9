"""Labels as a person reads them: what differs in its spelling alone is one class."""

import unicodedata
from contextlib import suppress

NOTHING = {"", "nan"}
"""What stands for no label, however it is written."""


def as_read(label: str) -> str:
    """The label without what a reader overlooks: case, white space, ways to write one letter or one number."""
    plain = "".join(unicodedata.normalize("NFKC", label).split()).casefold()
    with suppress(ValueError):
        return repr(float(plain.replace("_", "x")))  # Python takes 1_0 for a number
    return plain


def is_none(label: str | None) -> bool:
    """Whether nothing is written there."""
    return label is None or label.strip().casefold() in NOTHING
