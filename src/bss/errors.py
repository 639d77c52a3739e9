"""What can go wrong without a fault of the program: a user sees one line, and no traceback."""


class InputError(ValueError):
    """What the user gave cannot be used; the message says what, where, the value, and what would be right."""


class MissingInput(InputError, FileNotFoundError):
    """A file or a folder that is needed is not there; the message says which, and how to come by it."""


class Busy(RuntimeError):
    """Another process is at work on the same thing; the message names it."""


class Unavailable(RuntimeError):
    """Something outside of this program that the work needs does not answer, such as a server or a remote."""


def first_line(error: BaseException) -> str:
    """The first line of another library's message, or the type of an error that has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
