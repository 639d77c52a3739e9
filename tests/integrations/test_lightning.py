"""The callback for Lightning: killed and resumed, a training draws and ends as if it had not been."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

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
    Killed,
    TwoModalities,
    accuracy,
    loss_of,
    run_snippet,
    same,
    samples,
)

pl = pytest.importorskip("lightning.pytorch", reason="needs the extra lightning")
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelCheckpoint  # noqa: E402

from bss.integrations.lightning import CurriculumCallback  # noqa: E402


class Module(pl.LightningModule):  # type: ignore[misc, name-defined, unused-ignore]
    """Notes what it draws; killed at a step."""

    def __init__(self, killed_at: int | None = None) -> None:
        super().__init__()
        self.network, self.killed_at, self.drawn = TwoModalities(), killed_at, list[list[int]]()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        if self.global_step == self.killed_at:
            raise Killed
        self.drawn.append(batch["index"].tolist())
        logits = self.network({name: batch[name] for name in INPUTS}).logits
        return {
            "loss": loss_of(logits, batch["labels"]),
            "logits": logits,
            "index": batch["index"],
            "labels": batch["labels"],
        }

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.05)


def fit(
    folder: Path, scheduler: Scheduler, killed_at: int | None = None, resumed: str | None = None, **saving: Any
) -> tuple[Any, Any]:
    module = Module(killed_at)

    def evidence() -> Evidence:
        return collect(module.network, [(INPUTS, LABELS)])

    callback = CurriculumCallback(scheduler, seed=1, evidence=evidence, held_out=evidence)
    saved = ModelCheckpoint(folder, save_top_k=-1, filename="{step}", **saving)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[callback, saved], num_sanity_val_steps=0,
    )  # fmt: skip
    loaders: list[DataLoader[Any]] = [DataLoader(samples(), batch_size=BATCH_SIZE) for _ in range(2)]
    trainer.fit(module, *loaders, ckpt_path=resumed and str(folder / resumed))
    return module, callback


SCHEDULERS = {
    "random": Random(),
    "online": Learned(score_update="online"),
    "pass": Learned(),
    "matched": Matched(),
    "subset": Heuristic(grow_epochs=2, min_in_play=16),
}


def by_day(*names: str) -> list[Any]:
    """All schedulers, those that are not named at night."""
    return [name if name in names else pytest.param(name, marks=pytest.mark.nightly) for name in SCHEDULERS]


@pytest.mark.parametrize("name", by_day("online", "subset"))
@pytest.mark.filterwarnings("ignore")
def test_killed_and_resumed_it_draws_and_ends_the_same(name: str, tmp_path: Path) -> None:
    whole, steered = fit(tmp_path / "whole", SCHEDULERS[name], every_n_train_steps=1)
    assert steered.sampler.epoch == EPOCHS
    steps = len(whole.drawn)
    assert steps == EPOCHS * STEPS or name == "subset"
    first_epoch = [index for batch in whole.drawn[:STEPS] for index in batch]
    assert sorted(first_epoch) == list(range(NUM_SAMPLES)) or name != "random"
    assert (steered.sampler.scores.std() > 0) == (name in {"online", "pass", "matched"})
    for step in (2, STEPS, steps - 2):  # in an epoch or, of `subset`, at its end; at the end of one; in the last
        with pytest.raises(Killed):
            fit(tmp_path / f"{step}", SCHEDULERS[name], killed_at=step, every_n_train_steps=1)
        again, resumed = fit(
            tmp_path / f"{step}", SCHEDULERS[name], resumed=f"step={step}.ckpt", every_n_train_steps=1
        )
        assert again.drawn == whole.drawn[step:], step
        assert same(again, whole), step
        assert (resumed.sampler.scores == steered.sampler.scores).all()


@pytest.mark.parametrize("name", ["online", pytest.param("subset", marks=pytest.mark.nightly)])
@pytest.mark.parametrize("at", ["after the epoch", pytest.param("after validation", marks=pytest.mark.nightly)])
@pytest.mark.filterwarnings("ignore")
def test_saved_at_the_end_of_an_epoch_it_goes_on_with_the_next(name: str, at: str, tmp_path: Path) -> None:
    saving = {"every_n_epochs": 1, "save_on_train_epoch_end": at == "after the epoch"}
    whole, _ = fit(tmp_path, SCHEDULERS[name], **saving)
    for path in sorted(tmp_path.glob("*.ckpt"))[:-1]:
        again, _ = fit(tmp_path / "again", SCHEDULERS[name], resumed=str(path), **saving)
        assert again.drawn == whole.drawn[int(path.stem.partition("=")[2]) :], path
        assert same(again, whole), path


def trainer_of(*callbacks: Any, **settings: Any) -> Any:
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0, callbacks=[*callbacks], **settings,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_a_trainer_that_fits_once_more_goes_on() -> None:
    drawn = []
    for parts in ([3], [1, 3]):
        module, callback = Module(), CurriculumCallback(Random(), seed=1)  # Lightning makes a new optimizer
        trainer = trainer_of(callback, max_epochs=parts[0])
        for num_epochs in parts:
            trainer.fit_loop.max_epochs = num_epochs
            trainer.fit(module, DataLoader(samples(), batch_size=BATCH_SIZE))
        assert callback.sampler.epoch == 3
        drawn.append(module.drawn)
    assert drawn[0] == drawn[1]


class Tuned(Module):
    """Has what a tuner changes."""

    lr, batch_size = 0.05, BATCH_SIZE

    def train_dataloader(self) -> Any:
        return DataLoader(samples(), batch_size=self.batch_size)


@pytest.mark.parametrize("tuner", [LearningRateFinder(num_training_steps=STEPS + 2), BatchSizeFinder(max_trials=1)])
@pytest.mark.filterwarnings("ignore")
def test_steps_of_a_tuner_are_no_training(tuner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn = []
    for tuners in ([], [tuner]):
        module, callback = Tuned(), CurriculumCallback(Random(), seed=1)
        validation: DataLoader[Any] = DataLoader(samples(), batch_size=BATCH_SIZE)
        trainer_of(callback, *tuners, max_epochs=2).fit(module, val_dataloaders=validation)
        assert callback.sampler.epoch == 2
        indices = [index for batch in module.drawn for index in batch]
        assert (len(indices) > 2 * NUM_SAMPLES) == bool(tuners)
        drawn.append(indices[-2 * NUM_SAMPLES :])
    assert drawn[0] == drawn[1]


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    trainer = trainer_of(max_epochs=1)
    loader: DataLoader[Any] = DataLoader(samples(), batch_size=BATCH_SIZE)
    trainer.fit(Module(), loader)
    trainer.save_checkpoint(tmp_path / "other.ckpt")
    with pytest.raises(InputError, match=f"goes on from step {STEPS} without the state of its curriculum"):
        trainer_of(CurriculumCallback(Random()), max_epochs=2).fit(
            Module(), loader, ckpt_path=str(tmp_path / "other.ckpt")
        )


def test_the_snippet_of_the_page_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_snippet("Lightning")
    assert done["callback"].sampler.epoch == SNIPPET_EPOCHS
    assert accuracy(done["network"]) > 0.85
