"""Fabric without torchmetrics, which it would import where Lightning's trainer is installed."""

import subprocess
import sys
from importlib import import_module

import pytest

from bss.training._fabric import absent


def test_the_runtime_does_not_import_torchmetrics_and_hides_it_from_nobody() -> None:
    pytest.importorskip("torchmetrics", reason="comes with the extra lightning")
    lines = ["import sys, bss.training.runtime", "print('torchmetrics' in sys.modules)", "import torchmetrics"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_a_package_that_is_there_already_stays() -> None:
    with absent("json"):
        import json
    assert sys.modules["json"] is json
    with absent("no_such_package"), pytest.raises(ModuleNotFoundError):
        import_module("no_such_package")
    assert "no_such_package" not in sys.modules
