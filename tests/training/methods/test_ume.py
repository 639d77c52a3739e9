"""The mean of what each modality says by itself."""

import pytest
import torch
from torch import nn

from bss.model import MultimodalModel, Outputs
from bss.training.methods.ume import UME
from bss.training.methods.unimodal import Unimodal
from tests.helpers.steps import assert_same, first_batch, small_trainer, trained_weights
from tests.helpers.toy import packed_toy


class Given(nn.Module):
    """A branch that says what it is given."""

    def forward(self, values: torch.Tensor, present: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return values, values


def fused(*logits: list[list[float]]) -> torch.Tensor:
    """The probabilities of the fusion, of logits of each modality."""
    model = MultimodalModel.__new__(MultimodalModel)
    nn.Module.__init__(model)
    model.branches = nn.ModuleDict({f"m{place}": Given() for place in range(len(logits))})
    UME().prepare(model)
    outputs: Outputs = model({f"m{place}": torch.tensor(values) for place, values in enumerate(logits)})
    return outputs.logits["fused"].softmax(dim=1)


@pytest.mark.parametrize(
    ("logits", "wanted"),
    [
        (([[2.0, 0, 1]], [[0, 1.5, 1]]), [[0.393596, 0.318290, 0.288114]]),
        (([[2.0, 0.5, -1], [0.2, 1.5, 0.3]], [[0.1, 0.4, 0.2], [1, -0.5, 0.6]]),
         [[0.537515, 0.282992, 0.179493], [0.350656, 0.376639, 0.272705]]),
    ],
)  # fmt: skip
def test_the_mean_of_probabilities_by_hand(logits: tuple[list[list[float]], ...], wanted: list[list[float]]) -> None:
    found = fused(*logits)
    assert torch.allclose(found, torch.tensor(wanted), atol=1e-6)
    of_means = torch.stack([torch.tensor(values) for values in logits]).mean(dim=0).softmax(dim=1)
    assert not torch.allclose(found, of_means, atol=1e-3), "the mean of the logits is another rule"


def test_the_modalities_train_as_in_unimodal(tmp_path_factory: pytest.TempPathFactory) -> None:
    splits = packed_toy(tmp_path_factory.mktemp("toy"), 3)
    one, other = (trained_weights(splits, method) for method in (UME(), Unimodal()))
    assert_same({name: other[name] for name in one}, one)
    trainer, batch = small_trainer(splits, UME()), first_batch(splits)
    with torch.no_grad():
        logits = trainer.model(batch.inputs).logits
    wanted = torch.stack([values.softmax(dim=1) for name, values in logits.items() if name != "fused"]).mean(dim=0)
    assert torch.allclose(logits["fused"].softmax(dim=1), wanted, atol=1e-6)
