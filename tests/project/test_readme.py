"""The README says what is so."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import torch
import yaml

from bss.measure.criteria.criterion import Criterion
from bss.measure.evidence import Evidence
from tests.helpers import ROOT

README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
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


def test_the_criterion_of_the_readme_works(tmp_path: Path) -> None:
    [text] = [text for text in SNIPPETS if "@criterion" in text]
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
    [text] = [text for text in SNIPPETS if "CurriculumSampler" in text]
    program = AROUND + text + AFTER
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "8", str(96 * 8), "True", "set()"], done.stderr


def test_every_stage_and_folder_it_names_exists() -> None:
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    named = set(re.findall(r"^\| `([a-z-]+)(?:@[^|]*)?` \|", README, flags=re.MULTILINE))
    assert stages - {"evaluate-alone"} <= named | {"evaluate"}
    for folder in re.findall(r"`(data|encoders|measure/criteria|curriculum/\w+|training/methods)/NAME\.py`", README):
        assert (ROOT / "src/bss" / folder).is_dir()


def test_no_figure_was_left_open() -> None:
    assert not re.findall(r"\{[A-Z]+\}", README)


def test_the_values_it_tells_to_set_are_keys_of_the_parameters() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in re.findall(r"`([a-z]+\.[a-z_]+)(?:: [^`]*)?`", README):
        section, name = key.split(".")
        if section in params:
            assert name in params[section], key
