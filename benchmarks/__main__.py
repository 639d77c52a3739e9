"""Run the benchmarks and write docs/benchmarks.md: `python -m benchmarks [NAME ...] [--quick]`.

Only a full run of all of them writes the page. The machine has to be quiet.
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

from benchmarks.figures import Unavailable, table

NAMES = ("overhead", "released", "throughput", "preprocess", "pipeline", "scale", "gpu")
PAGE = Path("docs/benchmarks.md")
LIBRARIES = ("torch", "numpy", "polars", "lightning-fabric", "prefect", "dvc")


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(NAMES)}; all by default.")] = None,
    quick: Annotated[bool, typer.Option(help="Small sizes, to try them out; the figures mean nothing.")] = False,
) -> None:
    """Measure, print, and write the page where all were measured in full."""
    if wrong := sorted(set(names or []) - set(NAMES)):
        raise typer.BadParameter(f"{', '.join(wrong)}: expected some of {', '.join(NAMES)}")
    parts = [heading()]
    for name in names or NAMES:
        parts.append(section(name, quick))
        typer.echo(f"{parts[-1]}\n")
    if not names and not quick:
        PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        typer.echo(f"written: {PAGE}")


def heading() -> str:
    """What the page says first: when, where and with what."""
    processor = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=True
    ).stdout.strip()
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return f"""# Benchmarks

Written by `make bench` on {datetime.now(UTC):%Y-%m-%d} at commit {commit}. {processor}, {os.cpu_count()} cores,
{gigabytes:.0f} GB, {gpu}; {platform.system()}, Python {platform.python_version()}, {libraries}.

Ratios are of rounds run in turns in one process or beside one another: the median round, in brackets the smallest and
the largest. `python -m benchmarks NAME` runs one of them."""


def section(name: str, quick: bool) -> str:
    """One benchmark: what it is, and its table."""
    module = importlib.import_module(f"benchmarks.{name}")
    what = str(module.__doc__).strip()
    start = time.perf_counter()
    try:
        found = table(module.measure(quick))
    except Unavailable as reason:
        return f"## {name}\n\n{what}\n\nNot measured: {reason}."
    return f"## {name}\n\n{what}\n\n{found}\n\nMeasured in {time.perf_counter() - start:.0f} s."


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).exists() else []


if __name__ == "__main__":
    typer.run(main)
