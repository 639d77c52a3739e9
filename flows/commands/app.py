"""The commands of `bss` that need a workspace. Nothing heavy is imported for a help text."""

import webbrowser
from typing import Annotated

import typer

from bss.paths import HERE
from flows.commands import advise, diff, distribute, retrain, run, ui, watch
from flows.commands.exits import command
from flows.commands.options import Verbose
from flows.commands.studies import active, compare, ranks, reproduce, tune
from flows.workspace.lifeline import end_with_parent

app = typer.Typer(rich_markup_mode=None)


app.command("run", epilog="Example: bss run, or bss run train evaluate --verbose")(run.main)


@app.command(epilog="Example: bss report --open")
def report(
    shown: Annotated[bool, typer.Option("--open", help="Show the page in the browser.")] = False,
    verbose: Verbose = False,
) -> None:
    """Bring the report up to date, and say where the page lies."""
    end_with_parent()
    command(lambda: run.run(["report"], verbose) and (not shown or _open()))


def _open() -> bool:
    if not (opened := webbrowser.open(HERE.report.absolute().as_uri())):
        typer.echo("error: no browser could be started here", err=True)
    return opened


for _name, _main, _example in (
    ("advise", advise.main, "bss advise"),
    ("compare", compare.main, "bss compare schedulers --on avdigits-damaged"),
    ("active", active.main, "bss active --on avdigits-damaged --rounds 9"),
    ("reproduce", reproduce.main, "bss reproduce cremad --rows concat,vanilla,bss-h,bss-l"),
    ("tune", tune.main, "bss tune --trials 20 --seeds 2"),
    ("ranks", ranks.main, "bss ranks methods-avdigits methods-emoji_imgtext"),
    ("diff", diff.main, "bss diff HEAD~1 --html diff.html"),
    ("retrain", retrain.main, "bss retrain --base origin/main"),
    ("distribute", distribute.main, "bss distribute --pool machines"),
    ("watch", watch.main, "bss watch --once"),
    ("ui", ui.main, "bss ui --port 4300"),
):
    app.command(_name, epilog=f"Example: {_example}")(_main)
