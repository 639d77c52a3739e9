"""The training methods as the code has them, those without a written page too.

`python -m docs.catalogue` prints a row for each, `python -m docs.catalogue NAME` a page: that of docs/methods, or,
where none is written, one made of the docstrings, the fields and the hooks.
"""

import sys
from inspect import cleandoc, getmodule
from pathlib import Path

from bss.exits import exits
from bss.training.methods.method import METHODS, Method

PAGES = Path(__file__).parent / "methods"
SOURCES = "../../src/bss/training/methods"


def table() -> str:
    """A row for every method, in Markdown; the links lead from the folder docs."""
    rows = [f"| {_linked(name)} | {_idea(name)} | {', '.join(_hooks(name))} |" for name in METHODS]
    return "\n".join(["| method | idea | hooks |", "|---|---|---|", *rows])


def page(name: str) -> str:
    """The written page of a method, or the one that its code makes.

    Raises:
        UnknownName: there is no such method.
    """
    method = METHODS[name]
    if (written := PAGES / f"{name}.md").is_file():
        return written.read_text(encoding="utf-8")
    fields = [
        f"| `{field}` | {'none: it must be set' if info.is_required() else f'`{info.default}`'} |"
        for field, info in method.model_fields.items()
    ]
    return "\n\n".join(
        [
            f"# {name}: {_idea(name)}",
            cleandoc(method.__doc__ or ""),
            "\n".join(["| field | default |", "|---|---|", *fields]),
            f"Hooks: {', '.join(_hooks(name))}. Source: [{name}.py]({SOURCES}/{name}.py).\n",
        ]
    )


def _idea(name: str) -> str:
    """The first line of the file."""
    return cleandoc(getattr(getmodule(METHODS[name]), "__doc__", None) or "").partition("\n")[0]


def _hooks(name: str) -> list[str]:
    """What it overrides of the contract, itself or by what it is derived from."""
    hooks = [hook for hook, value in vars(Method).items() if callable(value) and not hook.startswith("_")]
    return [f"`{hook}`" for hook in hooks if getattr(METHODS[name], hook) is not getattr(Method, hook)]


def _linked(name: str) -> str:
    return f"[{name}](methods/{name}.md)" if (PAGES / f"{name}.md").is_file() else f"`{name}`"


if __name__ == "__main__":
    with exits():
        print(page(sys.argv[1]) if sys.argv[1:] else table())  # noqa: T201
