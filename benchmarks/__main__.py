"""Run the benchmarks and write their sections of docs/benchmarks.md: `python -m benchmarks [NAME ...] [--quick]`.

The machine has to be quiet. A figure is printed as soon as it is measured.
"""

import importlib
import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.figures import HEAD, Unavailable

NAMES = ("overhead", "plain", "released", "throughput", "preprocess", "pipeline", "scale", "methods", "gpu", "repeat")
PAGE = Path("docs/benchmarks.md")
HEADING = """# Benchmarks

`make bench` runs them all and writes this page; `python -m benchmarks NAME` runs one and writes its section. Ratios
are of rounds run in turns, in one process or in pairs of processes: the median, in brackets the smallest and the
largest."""
LIBRARIES = ("torch", "numpy", "polars", "lightning-fabric", "prefect", "dvc")


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(NAMES)}; all by default.")] = None,
    quick: Annotated[bool, typer.Option(help="Small sizes, to try them out; the figures mean nothing.")] = False,
    page: Annotated[Path, typer.Option(help="Where the sections are written.")] = PAGE,
) -> None:
    """Measure, print, and write what was measured in full into the page."""
    if wrong := sorted(set(names or []) - set(NAMES)):
        raise typer.BadParameter(f"{', '.join(wrong)}: expected some of {', '.join(NAMES)}")
    sections = written(page)
    for name in names or NAMES:
        sections[name] = section(name, quick)
    if not quick:
        ordered = [sections[name] for name in NAMES if name in sections]
        page.write_text("\n\n".join([HEADING, *ordered]) + "\n", encoding="utf-8")
        typer.echo(f"written: {page}")


def written(page: Path) -> dict[str, str]:
    """The sections of the page as it is."""
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    parts = [f"## {part.strip()}" for part in text.split("\n## ")[1:]]
    return {part.split("\n")[0].removeprefix("## "): part for part in parts}


def machine() -> str:
    """When, where and with what something is measured."""
    processor = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"on {datetime.now(UTC):%Y-%m-%d} at commit {commit()}; {processor}, {os.cpu_count()} cores, "
        f"{gigabytes:.0f} GB, {gpu}; {platform.system()}, Python {platform.python_version()}, {libraries}."
    )


def section(name: str, quick: bool) -> str:
    """One benchmark: what it is, and its table. Each line is printed as soon as it is known."""
    lines: list[str] = []

    def write(line: str) -> None:
        lines.append(line)
        typer.echo(line)

    module = importlib.import_module(f"benchmarks.{name}")
    write(f"## {name}\n\n{str(module.__doc__).strip()}\n")
    start = time.perf_counter()
    try:
        for number, figure in enumerate(module.measure(quick)):
            write(figure.row if number else f"{HEAD}\n{figure.row}")
    except Unavailable as reason:
        write(f"Not measured: {reason}.")
    else:
        write(f"\nMeasured in {time.perf_counter() - start:.0f} s {machine()}")
    return "\n".join(lines)


def commit() -> str:
    """The commit of the working tree; where git knows none, what the variable COMMIT says, or "-"."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("COMMIT", "-")


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    typer.run(main)
