"""`bss doctor`."""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

import typer

from bss.errors import InputError
from bss.exits import extras
from bss.health import git_problem, obstacles
from bss.paths import HERE


def doctor() -> None:
    """Show versions, device and data, and try what a run will do.

    A `problem` is what a run would stumble over.

    Exit 0 nothing is in the way of a run, 1 there is a problem.
    """
    import torch

    device = ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or "CPU"
    typer.echo(f"Python {sys.version.split()[0]}, bss {version('bss')}, torch {torch.__version__}, {device}")
    problems = [*_packages(), *_data(), *_workspace()]
    for problem in problems:
        typer.echo(f"problem: {problem}")
    raise typer.Exit(1 if problems else 0)


def _packages() -> Iterator[str]:
    """What is installed in another version than bss asks for; what an extra would bring is only shown."""
    from packaging.requirements import Requirement

    missing: dict[str, list[str]] = {}
    for name, wanted in {(line := Requirement(text)).name: line for text in requires("bss") or ()}.items():
        try:
            if not wanted.specifier.contains(found := version(name), prereleases=True):
                yield f"{name} {found}, but bss needs {wanted.specifier}: pip install '{name}{wanted.specifier}'"
        except PackageNotFoundError:
            missing.setdefault(extras().get(name, ""), []).append(name)
    for extra in sorted(missing.keys() - {"dev"}):
        typer.echo(f"not installed: {', '.join(missing[extra])}; pip install 'bss[{extra}]' brings them")


def _data() -> Iterator[str]:
    """What is wrong with the parameters of this folder or their raw data, of which nothing is fetched."""
    from bss.data.datasets._fetch import raw_folder
    from bss.params import load

    try:
        data = load(HERE.params).preprocess
        if any(not (raw_folder(data.name) / source.path).exists() for source in data.sources):
            typer.echo(f"{data.name}: its raw files are not here yet; bss fetch {data.name} fetches them")
        else:
            typer.echo(f"{data.name}: raw files in {data.locate()}")
    except InputError as error:
        yield str(error)


def _workspace() -> Iterator[str]:
    """What a run or a comparison of revisions would stumble over here; it is tried."""
    if not HERE.temporary.parent.is_dir():
        return
    found = [*obstacles(HERE)]
    yield from found
    if (problem := git_problem(HERE.folder)) is not None and not found:
        yield f"git: {problem}"
    if not found:
        yield from _dvc()


def _dvc() -> Iterator[str]:
    """What keeps DVC from opening this folder."""
    try:
        from dvc.repo import Repo
    except ImportError:  # it is among the packages that are shown
        return
    try:
        Repo().close()
    except Exception as error:  # whatever it is, a run would stumble over it
        yield f"DVC: {error}"
