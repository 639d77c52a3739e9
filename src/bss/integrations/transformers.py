"""A curriculum in the trainer of transformers: `pip install 'bss[transformers]'`."""

from typing import Any, Self

from torch.utils.data import DataLoader

from bss.integrations._curriculum import TrainerCurriculum, from_text, to_text
from bss.integrations._extra import brought_by

with brought_by("transformers"):
    from transformers import TrainerCallback


class CurriculumCallback(TrainerCurriculum, TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Trains in the order of a curriculum, saves its state in the trainer's checkpoints and goes on from there.

    `CurriculumCallback(scheduler).attach(trainer)` is all. A sample is a mapping with its number in the training set
    as `index`, which the model does not get to see; the model returns `logits` by name beside its `loss`, see
    `observe`. The trainer takes every epoch to be as long as the first; another length is refused.
    """

    _model: Any = None

    def attach(self, trainer: Any) -> Self:
        """Give the trainer this callback, and the DataLoader that follows the curriculum."""
        trainer.add_callback(self)
        trainer.get_train_dataloader = lambda: self._loader(trainer)
        return self

    def _loader(self, trainer: Any) -> DataLoader[Any]:
        # Not prepared by accelerate, which would share out among the ranks what the sampler shares out already.
        args, data = trainer.args, trainer.train_dataset
        names = ("num_workers", "pin_memory", "drop_last", "prefetch_factor", "persistent_workers")
        settings = {name: getattr(args, f"dataloader_{name}") for name in names}
        # What auto_find_batch_size has come to; it has no public name.
        loader = DataLoader(data, trainer._train_batch_size, collate_fn=trainer.data_collator, **settings)
        return self.begin(loader, args.process_index, args.world_size)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Listen to the model, and go on from a checkpoint."""
        if (model := kwargs["model"]) is not self._model:
            model.register_forward_pre_hook(self._before, with_kwargs=True)
            model.register_forward_hook(self._after, with_kwargs=True)
        self._model, self._length = model, len(kwargs["train_dataloader"])
        if state.global_step:
            self.go_on(from_text(state.stateful_callbacks.get("curriculum"), state.global_step))

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Refuse an epoch that the trainer would cut short, or wait for."""
        self._epoch = self.sampler.epoch
        self.expect_length(len(kwargs["train_dataloader"]), self._length)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The last step ends the epoch, before that is saved."""
        if state.epoch >= self.sampler.epoch + 1:
            self.end_epoch()
        self._keep(state, control.should_save)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Whether this is the best, and therefore saved, is found out later."""
        self._keep(state, args.save_strategy == "best")

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Also where the epoch was stopped."""
        if self.sampler.epoch == self._epoch:
            self.end_epoch()
        self._keep(state, control.should_save)

    def _keep(self, state: Any, is_saved: bool) -> None:
        if is_saved:
            state.stateful_callbacks["curriculum"] = to_text(self.states(), state.global_step)

    def _before(self, model: Any, args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self._index = inputs.pop("index", None)
        return args, inputs

    def _after(self, model: Any, args: Any, inputs: dict[str, Any], outputs: Any) -> None:
        if model.training:
            self.observe({**outputs, "index": self._index, "labels": inputs.get("labels")})
