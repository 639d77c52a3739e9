"""The settings of the schedulers that measure again while the model grows."""

from typing import Annotated, Literal

from pydantic import Field

from bss.curriculum.schedulers.scheduler import Scheduler


class Measuring(Scheduler):
    """A scheduler that makes fresh scores while the model is trained; the first epoch goes by the given ones."""

    refresh_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two measurements (E)."""
    score_update: Literal["pass", "online", "mixed"] = "pass"
    """Source of fresh scores: `pass`, a clean pass over all samples (published); `online`, the logits that training
    computed anyway, where a sample not drawn keeps its last value; `mixed`, those after every epoch, and a clean pass
    after every `refresh_every`."""

    def refreshes(self, epoch: int) -> bool:
        """Every `refresh_every` epochs; `mixed` before every epoch."""
        return epoch > 0 and (self.score_update == "mixed" or epoch % self.refresh_every == 0)

    def wants_pass(self, epoch: int) -> bool:
        """Every `refresh_every` epochs; `online` never."""
        return epoch > 0 and self.score_update != "online" and epoch % self.refresh_every == 0

    @property
    def wants_batches(self) -> bool:
        """Whether the logits of training are evidence."""
        return self.score_update != "pass"
