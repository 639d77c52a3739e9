"""The README and the pages of docs/ say what is so."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from bss.measure.criteria.criterion import Criterion
from bss.measure.evidence import Evidence
from tests.helpers import ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "data/README.md",
        ROOT / "models/README.md",
    ]
}
README, ADDING, ARCHITECTURE = PAGES["README.md"], PAGES["docs/adding.md"], PAGES["docs/architecture.md"]
NUM_LINES = 150
"""Of the README, at most: what is longer has a page of its own."""
AROUND = """
import sys
import torch

torch.manual_seed(0)
num_epochs = 8
inputs = torch.randn(96, 4)
labels = (inputs.sum(dim=1) > 0).long()
dataset = [(index, inputs[index], labels[index]) for index in range(96)]
layers = torch.nn.ModuleDict({name: torch.nn.Linear(4, 2) for name in ("audio", "image", "fused")})
model = lambda inputs: {name: layer(inputs) for name, layer in layers.items()}
optimizer = torch.optim.SGD(layers.parameters(), lr=0.5)
"""
AFTER = """
accuracy = (model(inputs)["fused"].argmax(dim=1) == labels).float().mean().item()
heavy = {"prefect", "dvc", "yaml", "sklearn", "scipy", "safetensors", "typer", "matplotlib"} & set(sys.modules)
print(accuracy > 0.9, sampler.epoch, sampler.num_draws.sum(), sampler.scores.std() > 0.1, heavy)
"""


def snippets(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


def anchors(page: str) -> set[str]:
    """What a link to a heading of the page says after its `#`."""
    titles = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_the_criterion_of_the_page_works(tmp_path: Path) -> None:
    [text] = [text for text in snippets(ADDING) if "@criterion" in text]
    path = tmp_path / "confidence.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("confidence", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert isinstance(module.confidence, Criterion)
    logits = torch.tensor([[0.0, 0.0], [9.0, -9.0]])
    evidence = Evidence({"a": logits, "b": logits, "fused": logits}, torch.tensor([0, 1]))
    assert torch.allclose(module.confidence(evidence), torch.tensor([0.5, 1.0]), atol=1e-4)


def test_the_training_loop_of_the_readme_works_and_needs_the_core_alone() -> None:
    [text] = [text for text in snippets(README) if "CurriculumSampler" in text]
    program = AROUND + text + AFTER
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "8", str(96 * 8), "True", "set()"], done.stderr


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= NUM_LINES


def test_every_stage_has_its_row() -> None:
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    rows = re.findall(r"^\| ((?:`[a-z-]+(?:@[^`]*)?`(?:, )?)+) \|", ARCHITECTURE, flags=re.MULTILINE)
    assert stages <= {name for row in rows for name in re.findall(r"`([a-z-]+)", row)}


def test_every_extension_point_is_a_folder_on_both_pages() -> None:
    folders = re.findall(r"^\|[^|]*\| `([\w/]+)/NAME\.py` \|", ADDING, flags=re.MULTILINE)
    assert len(folders) == 12
    assert re.findall(r"^\|[^|]*\| `([\w/]+)/` \|$", ARCHITECTURE, flags=re.MULTILINE) == folders
    for folder in folders:
        assert (ROOT / "src/bss" / folder).is_dir(), folder


@pytest.mark.parametrize("page", PAGES)
def test_no_figure_was_left_open(page: str) -> None:
    assert not re.findall(r"(?<!\$)\{[A-Z]+\}", PAGES[page])


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_the_values_it_tells_to_set_are_keys_of_the_parameters(page: str) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in re.findall(r"`([a-z]+\.[a-z_]+)(?:: [^`]*)?`", PAGES[page]):
        section, name = key.split(".")
        if isinstance(params.get(section), dict) and section != "preprocess":  # that one has the keys of a data set
            assert name in params[section], key


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page: str) -> None:
    for target, heading in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", PAGES[page]):
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        assert path.exists(), target
        assert not heading or heading in anchors(path.read_text()), f"{target}#{heading}"
