"""Plain late fusion: the modalities' heads are probes."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from bss.encoders.fusions.attention import Attention
from bss.encoders.fusions.concat import Concat
from bss.encoders.fusions.fusion import Fusion
from bss.encoders.fusions.gated import Gated
from bss.training.methods.fused_only import FusedOnly
from bss.training.methods.joint import Joint
from tests.helpers.steps import (
    Splits,
    assert_same,
    first_batch,
    gradients,
    slow_gradients,
    small_trainer,
    trained_weights,
)


@pytest.mark.parametrize(
    "fusion", [Concat(), Gated(width=8), Attention(width=8)], ids=lambda fusion: str(fusion.name)
)
def test_the_encoders_follow_the_fused_loss_alone_and_each_head_its_own(splits: Splits, fusion: Fusion) -> None:
    batch = first_batch(splits)
    given = gradients(small_trainer(splits, FusedOnly(), fusion), batch)
    model = small_trainer(splits, Joint(), fusion).model
    fused = slow_gradients(model, batch, "fused")
    features = {name: values.detach() for name, values in model(batch.inputs).features.items()}
    for name, gradient in given.items():
        if ".head." not in name or not name.startswith("branches."):
            assert torch.equal(gradient, fused[name]), name
    for modality, values in features.items():
        head = model.branch(modality).head
        cross_entropy(head(values), batch.labels).backward()
        for kind in ("weight", "bias"):
            assert torch.equal(given[f"branches.{modality}.head.{kind}"], getattr(head, kind).grad)


def test_encoders_and_fusion_are_those_of_joint_without_unimodal_losses(splits: Splits) -> None:
    probed, plain = trained_weights(splits, FusedOnly()), trained_weights(splits, Joint(unimodal_weight=0))
    assert_same(probed, plain, ".encoder.")
    assert_same(probed, plain, "fusion.")
    head = "branches.m0.head.weight"
    assert not torch.equal(probed[head], plain[head]), "the probe learns"
    assert not torch.equal(probed["fusion.weight"], trained_weights(splits, Joint())["fusion.weight"])
