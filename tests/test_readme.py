"""The README says what is so."""

import importlib.util
import re
from pathlib import Path

import torch
import yaml

from bss.measure.criteria.criterion import Criterion
from bss.measure.evidence import Evidence

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_criterion_of_the_readme_works(tmp_path: Path) -> None:
    [text] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
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


def test_every_stage_and_folder_it_names_exists() -> None:
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    named = set(re.findall(r"^\| `([a-z-]+)(?:@[^|]*)?` \|", README, flags=re.MULTILINE))
    assert stages - {"evaluate-alone"} <= named | {"evaluate"}
    for folder in re.findall(r"`(data|encoders|measure/criteria|curriculum/\w+|training/methods)/NAME\.py`", README):
        assert (ROOT / "src/bss" / folder).is_dir()


def test_the_values_it_tells_to_set_are_keys_of_the_parameters() -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in re.findall(r"`([a-z]+\.[a-z_]+)(?:: [^`]*)?`", README):
        section, name = key.split(".")
        if section in params:
            assert name in params[section], key
