"""What a CUDA device has to show: the losses of the CPU, the same bytes again, and a training that goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import distributed, nn
from torch.nn.functional import batch_norm
from torch.nn.modules._functions import SyncBatchNorm

from bss import seeds
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.learned import Learned
from bss.data.packed import Meta, PackedSplit
from bss.encoders.encoder import ENCODERS
from bss.encoders.small_cnn import SmallCNN
from bss.model import MultimodalModel, build_model
from bss.training.loader import batches
from bss.training.loop import fit
from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS
from bss.training.runtime import Runtime
from bss.training.trainer import Trainer
from bss.types import Split
from tests.helpers.encoders import accepted, examples, made_up
from tests.helpers.killed import expect_resumed
from tests.helpers.processes import early
from tests.helpers.steps import Splits, first_batch
from tests.helpers.toy import SETTINGS, TRAIN

pytestmark = pytest.mark.cuda
CUDA = SETTINGS.model_copy(update={"device": "cuda"})
TWO_STEPS = TRAIN.model_copy(update={"batch_size": 48, "optimizer": "sgd", "keep": "last"})
"""Of 96 samples; not adamw, whose first step makes a whole learning rate of the last bit of a gradient of zero."""
LOSSES = ["train_loss", "validation_loss", "validation_confidence"]


@pytest.fixture
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The random draws of a method are those of the CPU, and convolutions have all bits of float32."""

    def generator(trainer: Trainer, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(seeds.integer(trainer.seed, purpose, trainer.num_steps))

    def on_cpu(draw: Any) -> Any:
        return lambda *size, device=None, **given: draw(*size, **given).to(device)

    monkeypatch.setattr(Trainer, "generator", generator)
    for name in ("rand", "randn"):
        monkeypatch.setattr(torch, name, on_cpu(getattr(torch, name)))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def trained(splits: Splits, method: str, runtime: Any) -> tuple[pl.DataFrame, dict[str, torch.Tensor]]:
    """The history of two steps, and the weights after them."""
    train, validation = splits[Split.TRAIN], splits[Split.VALIDATION]
    encoders = {name: SmallCNN(width=8) for name in train.meta.modalities}
    trainer = Trainer(build_model(train.meta, encoders, 0), early(method), TWO_STEPS, Runtime.start(runtime))
    sampler = CurriculumSampler(len(train), Learned(score_update="online"))
    history = fit(trainer, sampler, train, validation, TWO_STEPS, 1)
    return history, {name: values.cpu() for name, values in trainer.model.state_dict().items()}


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("method", list(METHODS))
def test_two_steps_have_the_losses_of_the_cpu(method: str, splits: Splits) -> None:
    (here, _), (there, _) = trained(splits, method, SETTINGS), trained(splits, method, CUDA)
    assert here.select("output", "num_steps").equals(there.select("output", "num_steps"))
    for name in LOSSES:
        assert np.allclose(here[name], there[name], rtol=1e-4, atol=1e-5, equal_nan=True), (name, here, there)


@pytest.mark.parametrize("method", list(METHODS))
def test_a_method_repeats_to_the_byte(method: str, splits: Splits) -> None:
    (history, weights), (again, others) = (trained(splits, method, CUDA) for _ in range(2))
    assert history.equals(again)
    assert all(torch.equal(values, others[name]) for name, values in weights.items())


@pytest.mark.parametrize("encoder", list(ENCODERS))
def test_an_encoder_repeats_to_the_byte(encoder: str) -> None:
    runtime, component = Runtime.start(CUDA), examples(encoder)[0]
    modalities = accepted(component)
    train = PackedSplit(
        Path(),
        Split.TRAIN,
        Meta(dataset="made up", classes=tuple("abc"), modalities=modalities, num_pairs={Split.TRAIN: 96}),
        np.arange(96) % 3,
        tuple(map(str, range(96))),
        {name: made_up(modality, 96) for name, modality in modalities.items()},
        {},
    )
    encoders = dict.fromkeys(modalities, component)
    assert_differentiated_in_eval_mode(build_model(train.meta, encoders, 0), train, runtime)
    results = []
    for _ in range(2):
        model = build_model(train.meta, encoders, 0)
        trainer = Trainer(model, Joint(), TRAIN, runtime)
        losses = trainer.train_epoch(batches(train, np.arange(96), 16, runtime), 0.01)
        results.append((losses, trainer.model.fusion.weight.cpu()))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def assert_differentiated_in_eval_mode(model: MultimodalModel, train: PackedSplit, runtime: Runtime) -> None:
    """Assert that gradients reach every encoder in eval mode, as of methods that let one rest."""
    model.to(runtime.device).eval()
    batch = next(iter(batches(train, np.arange(8), 8, runtime)))
    torch.stack([values.sum() for values in model(batch.inputs).logits.values()]).sum().backward()
    for name in model.branches:
        assert any(weight.grad is not None for weight in model.branch(name).encoder.parameters())


@pytest.mark.parametrize("method", list(METHODS))
def test_a_method_resumes_with_the_same_bytes(method: str, splits: Splits, tmp_path: Path) -> None:
    expect_resumed(splits, METHODS.example(method), tmp_path, runtime=CUDA)


def test_bfloat16_trains_and_repeats(splits: Splits) -> None:
    settings = CUDA.model_copy(update={"precision": "bfloat16", "channels_last": True})
    (history, _), (again, _) = (trained(splits, "joint", settings) for _ in range(2))
    assert history.equals(again)
    exact, _ = trained(splits, "joint", CUDA)
    assert np.allclose(history["train_loss"], exact["train_loss"], rtol=0.05)


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    store = distributed.FileStore(str(tmp_path / "store"), 1)  # type: ignore[attr-defined]
    distributed.init_process_group("nccl", store=store, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_synchronised_statistics_of_one_rank_are_those_of_the_batch(splits: Splits) -> None:
    """Of the model that several ranks would train, and of the kernels, which torch leaves out for one rank."""
    meta, batch = splits[Split.TRAIN].meta, first_batch(splits)
    inputs = {name: values.cuda() for name, values in batch.inputs.items()}
    outputs = []
    for num_ranks in (1, 2):
        runtime = Runtime.start(CUDA)
        runtime.num_ranks = num_ranks
        model = build_model(meta, dict.fromkeys(meta.modalities, SmallCNN(width=8)), 0)
        runtime.prepare(model)
        kinds = {type(part) for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
        assert kinds == {nn.SyncBatchNorm if num_ranks == 2 else nn.BatchNorm2d}
        outputs.append(model(inputs).logits["fused"])
    assert torch.allclose(outputs[0], outputs[1], atol=1e-6)

    values = torch.randn(16, 8, 4, 4, device="cuda", requires_grad=True)
    weight, bias = torch.rand(8, device="cuda"), torch.rand(8, device="cuda")
    means = [(torch.zeros(8, device="cuda"), torch.ones(8, device="cuda")) for _ in range(2)]
    whole = batch_norm(values, *means[0], weight, bias, training=True)
    shared = SyncBatchNorm.apply(values, weight, bias, *means[1], 1e-5, 0.1, distributed.group.WORLD, 1)
    assert torch.allclose(whole, shared, atol=1e-5)
    assert torch.allclose(torch.stack(means[0]), torch.stack(means[1]), atol=1e-5)
    (one,), (other,) = (torch.autograd.grad((found * values).square().sum(), values) for found in (whole, shared))
    assert torch.allclose(one, other, rtol=1e-3, atol=1e-3)
