"""What changed between two revisions, or folders: `bss diff REV_A [REV_B]`.

Exit 0 done, 1 something changed and --exit-code is given, 2 wrong input, 130 interrupted.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from bss.commands.completion import revisions
from bss.commands.counts import counting
from bss.errors import InputError
from bss.exits import WRONG_INPUT, exits, leave


def main(
    rev_a: Annotated[
        str,
        typer.Argument(help="A revision (HEAD~1, a tag, a branch) or a folder: before.", autocompletion=revisions),
    ],
    rev_b: Annotated[
        str | None,
        typer.Argument(help="The same: after. The workspace as it is by default.", autocompletion=revisions),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots as well.")] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 where something changed.")] = False,
    top: Annotated[int, counting("So many rows of each list of pairs.")] = 10,
) -> None:
    """Tell what changed in meaning, between revisions or folders."""
    if json and markdown:
        leave("error: --json and --markdown: one of them", WRONG_INPUT)
    with exits():
        changed = run(rev_a, rev_b, "json" if json else "markdown" if markdown else "text", html, top)
    raise typer.Exit(1 if changed and exit_code else 0)


def run(rev_a: str, rev_b: str | None, form: str, html: Path | None, top: int) -> bool:
    """Compare, print and write the page; whether anything changed.

    Raises:
        InputError: an unknown revision, a folder without artifacts, or a damaged file.
        IsADirectoryError: the page would be a folder.
    """
    if html is not None and html.is_dir():
        raise InputError(f"--html {html} is a folder; give the name of a file, as in {html / 'diff.html'}")
    from flows.revisions.snapshot import snapshot

    with ExitStack() as stack:
        before, after = (stack.enter_context(snapshot(name)) for name in (rev_a, rev_b))
        from bss.evaluation.diff.difference import difference
        from bss.evaluation.diff.text import FORMS

        changes = difference(before, after)
        typer.echo(FORMS[form](changes, top))
        if html is not None:
            from bss.evaluation.diff.page import write_page

            write_page(changes, html, top)
            typer.echo(f"page: {html.absolute()}", err=True)
    return changes.changed
