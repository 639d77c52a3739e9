"""The callback for the trainer of transformers: killed and resumed, a training draws and ends as if it had not."""

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bss import Evidence, Heuristic, Learned, Matched, Random, collect
from bss.curriculum.schedulers.scheduler import Scheduler
from bss.errors import InputError
from tests.helpers.two_modalities import (
    BATCH_SIZE,
    EPOCHS,
    INPUTS,
    LABELS,
    NUM_SAMPLES,
    SNIPPET_EPOCHS,
    STEPS,
    ByName,
    Killed,
    TwoModalities,
    accuracy,
    loss_of,
    run_snippet,
    same,
    samples,
)

pytest.importorskip("accelerate", reason="needs the extra transformers")
transformers = pytest.importorskip("transformers", reason="needs the extra transformers")

from bss.integrations.transformers import CurriculumCallback  # noqa: E402


class Module(nn.Module):
    """Killed at a step."""

    def __init__(self, killed_at: int | None = None) -> None:
        super().__init__()
        self.network, self.killed_at, self.num_steps = TwoModalities(), killed_at, 0

    def forward(self, audio: Tensor, image: Tensor, labels: Tensor) -> dict[str, Any]:
        if self.training:
            if self.num_steps == self.killed_at:
                raise Killed
            self.num_steps += 1
        logits = self.network({"audio": audio, "image": image}).logits
        return {"loss": loss_of(logits, labels), "logits": logits}


class Noting(list[dict[str, Any]]):
    """The samples, and which were asked for."""

    def __init__(self) -> None:
        super().__init__(samples())
        self.drawn = list[int]()

    def __getitem__(self, index: Any) -> Any:
        self.drawn.append(index)
        return super().__getitem__(index)


def trainer_of(folder: Path, scheduler: Scheduler, killed_at: int | None = None, **settings: Any) -> Any:
    module = Module(killed_at)
    arguments = transformers.TrainingArguments(
        folder, num_train_epochs=EPOCHS, use_cpu=True, report_to="none", learning_rate=0.05, disable_tqdm=True,
        **{"save_strategy": "no", "per_device_train_batch_size": BATCH_SIZE} | settings,
    )  # fmt: skip
    trainer = transformers.Trainer(module, arguments, train_dataset=Noting(), eval_dataset=samples())

    def evidence() -> Evidence:
        return collect(module.network, [(INPUTS, LABELS)])

    callback = CurriculumCallback(scheduler, seed=1, evidence=evidence, held_out=evidence).attach(trainer)
    trainer.curriculum = callback
    return trainer


@pytest.fixture(autouse=True, scope="module")
def kept_apart() -> Iterator[None]:
    """The trainer collects garbage again and again: not among all that pytest and the library hold."""
    gc.freeze()
    yield
    gc.unfreeze()


SCHEDULERS = {"random": Random(), "online": Learned(score_update="online"), "pass": Learned(), "matched": Matched()}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nightly] * (name in {"random", "pass"})) for name in SCHEDULERS]
)
def test_killed_and_resumed_it_draws_and_ends_the_same(name: str, tmp_path: Path) -> None:
    whole = trainer_of(tmp_path / "whole", SCHEDULERS[name])
    whole.train()
    sampler, drawn = whole.curriculum.sampler, whole.train_dataset.drawn
    assert (sampler.epoch, len(drawn)) == (EPOCHS, EPOCHS * NUM_SAMPLES)
    assert sorted(drawn[:NUM_SAMPLES]) == list(range(NUM_SAMPLES)) or name != "random"
    assert (sampler.scores.std() > 0) == (name != "random")
    for step in (3, STEPS, EPOCHS * STEPS - 2):  # in an epoch, at its end, in the last
        saving = {"save_strategy": "steps", "save_steps": step}
        killed = trainer_of(tmp_path / str(step), SCHEDULERS[name], killed_at=step, **saving)
        with pytest.raises(Killed):
            killed.train()
        again = trainer_of(tmp_path / str(step), SCHEDULERS[name])
        again.train(resume_from_checkpoint=True)
        epoch, batch = divmod(step, STEPS)
        assert again.train_dataset.drawn == drawn[epoch * NUM_SAMPLES + batch * BATCH_SIZE :], step
        assert same(again.model, whole.model), step
        assert (again.curriculum.sampler.scores == sampler.scores).all()


def test_all_else_of_the_loader_is_the_trainers(tmp_path: Path) -> None:
    asked = {
        "num_workers": 1,
        "prefetch_factor": 3,
        "persistent_workers": True,
        "pin_memory": False,
        "drop_last": True,
    }
    trainer = trainer_of(tmp_path, Random(), **{f"dataloader_{name}": value for name, value in asked.items()})
    loader = trainer.get_train_dataloader()
    assert {name: getattr(loader, name) for name in asked} == asked
    assert loader.sampler is trainer.curriculum.sampler


def test_a_batch_that_is_too_large_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, sizes = Module.forward, list[int]()

    def scarce(self: Module, audio: Tensor, image: Tensor, labels: Tensor) -> dict[str, Any]:
        sizes.append(len(labels))
        if len(labels) > BATCH_SIZE // 2:
            raise RuntimeError("CUDA out of memory.")  # as accelerate knows it
        return forward(self, audio, image, labels)

    monkeypatch.setattr(Module, "forward", scarce)
    trainer = trainer_of(tmp_path, Learned(score_update="online"), auto_find_batch_size=True)
    trainer.train()
    assert sizes[0] == BATCH_SIZE and max(sizes[-len(sizes) // 2 :]) <= BATCH_SIZE // 2
    assert (trainer.curriculum.sampler.epoch, trainer.state.epoch) == (EPOCHS, EPOCHS)


def test_the_state_is_kept_with_the_best_model_too(tmp_path: Path) -> None:
    settings = {"save_strategy": "best", "eval_strategy": "epoch", "metric_for_best_model": "eval_loss"}
    whole, again = (trainer_of(tmp_path, Learned(score_update="online"), **settings) for _ in range(2))
    whole.train()
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{STEPS}"))
    assert same(again.model, whole.model)


def test_epochs_of_other_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"epoch 1 of the scheduler 'heuristic' has \d batches and the first \d"):
        trainer_of(tmp_path, Heuristic(grow_epochs=2, min_in_play=16), save_strategy="no").train()


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, Random(), save_strategy="epoch")
    trainer.remove_callback(CurriculumCallback)
    del trainer.get_train_dataloader
    trainer.train_dataset = [{**sample, "label": sample.pop("labels")} for sample in samples()]
    for sample in trainer.train_dataset:
        del sample["index"]
    trainer.train()
    with pytest.raises(InputError, match="the checkpoint of step 21 has no state of the curriculum"):
        trainer_of(tmp_path, Random()).train(resume_from_checkpoint=True)


def test_a_step_without_an_index_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, Learned(score_update="online"))
    trainer.train_dataset = [{**sample, "index": None} for sample in samples()]
    with pytest.raises(InputError, match="'learned' follows what training computes, and a step gave no index"):
        trainer.train()


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (Learned(), "'learned' wants clean passes over the training samples: give evidence="),
        (Matched(score_update="online"), "'matched' compares with held-out samples: give held_out="),
        (Learned(score_update="online", by_class=True), "'learned' has by_class: give labels="),
        ("learned", "scheduler is 'learned', expected one such as bss.Random"),
    ],
    ids=str,
)
def test_what_a_scheduler_needs_is_asked_for_at_once(scheduler: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CurriculumCallback(scheduler)


def test_the_snippet_of_the_page_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_snippet("Transformers")
    assert done["callback"].sampler.epoch == SNIPPET_EPOCHS
    assert accuracy(done["network"]) > 0.85


def test_the_recipe_for_accelerate_resumes(tmp_path: Path) -> None:
    def run(folder: str, killed_at: int | None = None) -> dict[str, Any]:
        network = ByName(killed_at)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
        return run_snippet("Accelerate", network=network, optimizer=optimizer, checkpoint=tmp_path / folder)

    whole = run("whole")
    assert (whole["sampler"].epoch, accuracy(whole["network"]) > 0.85) == (SNIPPET_EPOCHS, True)
    with pytest.raises(Killed):
        run("killed", killed_at=5)  # of two steps an epoch
    again = run("killed")
    assert again["network"].num_steps == 2 * SNIPPET_EPOCHS - 4
    assert same(again["network"], whole["network"])
    assert (again["sampler"].num_draws == whole["sampler"].num_draws).all()
