"""A curriculum in Lightning's trainer: `pip install 'bss[lightning]'`."""

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from bss.errors import InputError
from bss.integrations._curriculum import TrainerCurriculum
from bss.integrations._extra import brought_by

with brought_by("lightning"):
    from lightning.pytorch import Callback, LightningModule


class CurriculumCallback(TrainerCurriculum, Callback):  # type: ignore[misc, unused-ignore]
    """Trains in the order of a curriculum, saves its state in the trainer's checkpoints and goes on from there.

    Of the training's DataLoader the sampler alone is replaced. `training_step` returns `loss`, and, for a scheduler
    that follows what training computes, `index`, `logits` and `labels` as well, see `observe`. Epochs may
    differ in length, for the trainer looks at the loader every epoch. On several ranks it needs
    `use_distributed_sampler=False`: the sampler shares the samples out itself.
    """

    _states: list[dict[str, Any]] | None = None

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        """Have the trainer ask for the loader here."""
        if stage != "fit":
            return
        trainer.reload_dataloaders_every_n_epochs = 1
        # The one place between the user's loader and the loop; it has no public name.
        source = trainer.fit_loop._data_source
        given, made = source.dataloader, list[DataLoader[Any]]()

        def replaced() -> DataLoader[Any]:
            if self not in trainer.callbacks:  # steps of a tuner, which are no training
                loader: DataLoader[Any] = given()
                return loader
            if not made:
                made.append(self._begun(given(), trainer))
            elif self.sampler.epoch < trainer.current_epoch:  # resumed after the last step of an epoch
                self.end_epoch()
                # By the length of the new epoch the trainer asks whether the old one was complete.
                trainer.fit_loop.epoch_loop.batch_progress.current.completed = len(made[0])
            self._states = None  # of a tuner in mid-training, whose steps left the sampler alone
            return made[0]

        source.dataloader = replaced

    def _begun(self, given: Any, trainer: Any) -> DataLoader[Any]:
        if not isinstance(given, DataLoader):
            raise InputError(f"a curriculum needs one DataLoader for training, got a {type(given).__name__}")
        states, self._states = self._states, None
        if states is None and trainer.global_step > 0:
            if self._sampler is None:
                raise InputError(
                    f"the training goes on from step {trainer.global_step} without the state of its curriculum: the "
                    "checkpoint is of a training without this callback"
                )
            states = self.states()  # the trainer fits once more, and goes on
        loader = self.begin(given, trainer.global_rank, trainer.world_size)
        if states is not None:
            self.go_on(states)
        return loader

    def on_train_start(self, trainer: Any, pl_module: LightningModule) -> None:
        """Refuse a trainer that shares out what is shared out already."""
        if trainer.train_dataloader.sampler is not self.sampler:
            raise InputError("a curriculum on several ranks needs Trainer(use_distributed_sampler=False)")

    def on_train_batch_end(
        self, trainer: Any, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the outputs of a step, and count its samples."""
        self.observe(outputs if isinstance(outputs, Mapping) else {})
        size, length = trainer.train_dataloader.batch_size, len(self.sampler)
        self.sampler.advance(min(batch_idx * size + size, length) - batch_idx * size)

    def on_train_epoch_end(self, trainer: Any, pl_module: LightningModule) -> None:
        """End the epoch, before that is saved; once, where the trainer has come here again by resuming."""
        if self.sampler.epoch == trainer.current_epoch:
            self.end_epoch()

    def state_dict(self) -> dict[str, Any]:
        """Of all ranks, for the trainer's checkpoint; empty before the training begins, when a tuner saves one."""
        return {} if self._sampler is None else {"states": self.states()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until the sampler is made."""
        self._states = state_dict.get("states")
