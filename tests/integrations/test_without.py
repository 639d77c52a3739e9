"""The folder without its extras."""

import subprocess
import sys

import pytest

from bss.integrations._extra import brought_by
from tests.helpers import ROOT


def test_the_folder_imports_none_of_its_libraries() -> None:
    libraries = {"torch", "lightning", "transformers", "accelerate"}
    command = [sys.executable, "-c", f"import sys, bss.integrations\nprint({libraries} & {{*sys.modules}})"]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(("name", "imported"), [("lightning", "lightning.pytorch"), ("transformers", "transformers")])
def test_a_callback_without_its_library_names_the_extra(
    name: str, imported: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.startswith(f"bss.integrations.{name}")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, imported, None)  # as Python has what it cannot import
    with pytest.raises(
        ModuleNotFoundError, match=rf"bss.integrations.{name} needs {name}: pip install 'bss\[{name}\]'"
    ):
        __import__(f"bss.integrations.{name}")


def test_another_fault_of_an_import_is_left_alone() -> None:
    with pytest.raises(ImportError, match="cannot import name 'nothing'"), brought_by("lightning"):
        from bss.types import nothing  # type: ignore[attr-defined] # noqa: F401
