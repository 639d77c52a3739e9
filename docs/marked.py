"""The part of a page that a command writes, between two lines of comment."""

from bss.errors import InputError

END = "<!-- to here -->"


def begin(command: str) -> str:
    """The line above what a command writes."""
    return f"<!-- {command} writes from here -->"


def filled(text: str, command: str, *parts: str) -> str:
    """A page with the part that a command writes made anew, of parts with an empty line between them.

    Raises:
        InputError: one of the two lines is missing.
    """
    before, above, rest = text.partition(begin(command))
    _, below, after = rest.partition(END)
    if not (above and below):
        raise InputError(f"the page lacks the line '{END if above else begin(command)}'")
    return "\n\n".join([before + above, *parts, below + after])
