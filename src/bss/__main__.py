"""The command `bss`: what the library does alone, and in a workspace what runs the pipeline."""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from bss.commands.check import check
from bss.commands.doctor import doctor
from bss.commands.export import export
from bss.commands.fetch import fetch
from bss.commands.init import init
from bss.commands.methods import methods
from bss.commands.predict import predict
from bss.commands.preset import preset
from bss.exits import needs

WORKSPACE = Path("flows/commands/app.py")
"""Where the current folder, a workspace, has its own commands."""
ELSEWHERE = "run, compare, report and the others that work on a pipeline are there in a clone of the repository"


class Commands(TyperGroup):
    """The commands of the library, then those of the workspace, which are found when they are asked for."""

    def main(self, args: Any = None, *rest: Any, **more: Any) -> Any:
        """Run a command; one that lacks a package of an extra ends with a line that names it."""
        typed = sys.argv[1:] if args is None else list(args)
        with needs(" ".join(["bss", *[word for word in typed if not word.startswith("-")][:1]])):
            return super().main(args, *rest, **more)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return [*self._workspace(ctx), *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name."""
        found = super().get_command(ctx, cmd_name) or self._workspace(ctx).get(cmd_name)
        if found is None and not cmd_name.startswith("-"):
            from bss.registry import UnknownName  # imports pydantic

            unknown = UnknownName("command", cmd_name, self.list_commands(ctx))
            _leave(str(unknown) if WORKSPACE.is_file() else f"{unknown}; {ELSEWHERE}, and {Path.cwd()} is none")
        return found

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write what follows the list of commands."""
        super().format_epilog(ctx, formatter)
        if not WORKSPACE.is_file():
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"{ELSEWHERE[:1].upper()}{ELSEWHERE[1:]}.")

    def _workspace(self, ctx: Any) -> dict[str, Any]:
        if not WORKSPACE.is_file():
            return {}
        if (folder := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, folder)
        group: Any = typer.main.get_command(importlib.import_module("flows.commands.app").app)
        return {name: group.get_command(ctx, name) for name in group.list_commands(ctx)}


def _leave(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(2)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 failed or findings, 2 wrong input, 3 workspace in use, 130 interrupted. "
    "Tab completes names after `bss --install-completion`.",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"bss {version('bss')}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it and exit.")] = False,
) -> None:
    """Balance-aware training of multimodal models."""


for _command, _example in (
    (init, "bss init data/example/pairs.csv"),
    (check, "bss check && bss run"),
    (preset, "bss preset cremad-published"),
    (fetch, "bss fetch avdigits"),
    (methods, "bss methods --family gradient"),
    (predict, "bss predict new.csv --out said.csv"),
    (export, "bss export --format onnx --out model.onnx"),
    (doctor, "bss doctor"),
):
    app.command(epilog=f"Example: {_example}")(_command)


if __name__ == "__main__":
    sys.exit(app())
