"""Nothing that is read can run code, and no text reaches a shell."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from bss.data.packed import open_split
from bss.types import Split
from tests.helpers import ROOT
from tests.helpers.toy import packed_toy

SOURCES = [path for folder in ("src", "tasks", "flows", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
FORBIDDEN = {
    *("eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system"),
    *("os.popen", "joblib.load", "shutil.unpack_archive", "subprocess.getoutput"),
}
NEEDED = {"np.load": ("allow_pickle", False), "torch.load": ("weights_only", True)}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [(ast.unparse(call.func), call) for call in found]


def faults(path: Path) -> list[str]:
    findings = []
    for name, call in calls(path):
        options = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
        if name in FORBIDDEN or name.endswith(".extractall") or options.get("shell"):
            findings.append(f"{path}:{call.lineno}: {name}")
        if name in NEEDED and options.get(NEEDED[name][0]) is not NEEDED[name][1]:
            findings.append(f"{path}:{call.lineno}: {name} without {NEEDED[name][0]}={NEEDED[name][1]}")
    return findings


def test_no_file_is_read_in_a_way_that_runs_it() -> None:
    assert len(SOURCES) > 100
    assert not [fault for path in SOURCES for fault in faults(path)]
    assert not [
        path
        for path in SOURCES
        if re.search(r"^\s*(import|from) (pickle|marshal|shelve|joblib)\b", path.read_text(), re.M)
    ]


@pytest.mark.parametrize(
    "line", ["np.load(x)", "np.load(x, allow_pickle=True)", "torch.load(x)", "run(x, shell=True)", "a.extractall()"]
)
def test_the_search_finds_what_it_looks_for(line: str, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(line)
    assert faults(tmp_path / "bad.py")


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    folder = packed_toy(tmp_path)[Split.TRAIN].folder
    array = folder / "train" / "m0.npy"
    array.unlink()
    np.save(array, np.array([{"a": 1}] * 96, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"m0\.npy is damaged"):
        open_split(folder, Split.TRAIN)
