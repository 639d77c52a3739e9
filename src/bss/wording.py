"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, as in `1 time`, `1,200 times` or `2 classes`; for nouns that take an s."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
