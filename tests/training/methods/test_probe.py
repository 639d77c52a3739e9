"""Probing: heads and fusion learn as joint's do, encoders rest."""

from pathlib import Path

import torch

from bss.encoders.fusions.gated import Gated
from bss.training.methods.joint import Joint
from bss.training.methods.probe import Probe
from tests.helpers.steps import first_batch, gradients, small_trainer
from tests.helpers.toy import packed_toy


def test_heads_and_fusion_have_the_gradients_of_joint_and_encoders_none(tmp_path: Path) -> None:
    splits = packed_toy(tmp_path, 3)
    batch = first_batch(splits)
    for fusion in (None, Gated()):
        one, two = (gradients(small_trainer(splits, method, fusion), batch) for method in (Probe(), Joint()))
        for name, values in one.items():
            if ".encoder." in name:
                assert not values.any(), name
                assert two[name].any()
            else:
                assert torch.equal(values, two[name]), name


def test_batch_statistics_rest(tmp_path: Path) -> None:
    splits = packed_toy(tmp_path)
    trainer = small_trainer(splits, Probe(), encoders={})
    before = {name: values.clone() for name, values in trainer.model.state_dict().items()}
    trainer.train_epoch([first_batch(splits)] * 3, 0.01)
    moved = {name for name, values in trainer.model.state_dict().items() if not torch.equal(values, before[name])}
    assert any("running_mean" in name for name in before)
    assert moved
    assert not any(".encoder." in name for name in moved)
