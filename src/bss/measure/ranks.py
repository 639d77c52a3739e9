"""What the ranks of a training exchange where each holds its own samples alone: a few numbers, and rows of others.

torch is imported where it is used: schedulers stand in params.yaml, which is checked before anything heavy is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Shard = Literal["local"] | None
"""`local`: each rank holds its own samples, those whose index leaves its number when divided by that of the ranks;
None: every rank holds all."""


@dataclass(frozen=True)
class AllRanks:
    """This process among those that share a training; every method is a step that all of them take together."""

    rank: int = 0
    num_replicas: int = 1

    @classmethod
    def of_group(cls) -> "AllRanks":
        """The ranks of the default process group.

        Raises:
            ValueError: there is no group.
        """
        from torch import distributed

        if not distributed.is_initialized():
            raise ValueError("shard is 'local', and there are no ranks: call torch.distributed.init_process_group")
        return cls(distributed.get_rank(), distributed.get_world_size())

    def check_group(self) -> None:
        """Compare with the default process group; one rank alone needs none.

        Raises:
            ValueError: there is no group, or this is another rank of it.
        """
        from torch import distributed

        is_alone = self.num_replicas == 1 and not distributed.is_initialized()
        if not is_alone and (group := AllRanks.of_group()) != self:
            raise ValueError(
                f"rank {self.rank} of num_replicas {self.num_replicas} is rank {group.rank} of {group.num_replicas} "
                "in torch.distributed, expected the same"
            )

    def rows(self, num_samples: int) -> range:
        """The indices of this rank's own samples, as `DistributedSampler` deals them without a shuffle."""
        return range(self.rank, num_samples, self.num_replicas)

    def each(self, values: ArrayLike) -> np.ndarray:
        """The numbers of every rank, (num_replicas, *shape of values), float64, the same bits on all of them.

        The sum of tables in which each rank fills its own row: so sums over the ranks do not depend on who adds.
        """
        import torch
        from torch import distributed

        own = np.asarray(values, dtype=np.float64)
        if self.num_replicas == 1:
            return own[None]
        table = np.zeros((self.num_replicas, *own.shape))
        table[self.rank] = own
        summed = torch.from_numpy(table).to(_device())
        distributed.all_reduce(summed)
        return summed.cpu().numpy()

    def extent(self, low: float, high: float) -> tuple[float, float]:
        """The smallest and the largest over all ranks, from this rank's own; (inf, -inf) where it has none."""
        table = self.each([low, high])
        return float(table[:, 0].min()), float(table[:, 1].max())

    def exchange(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """What the others have for this rank, (number,), in the order of the ranks.

        Args:
            parts: what this rank has for each of them, (number,) each, one type.
        """
        import torch
        from torch import distributed

        sizes = self.each([len(part) for part in parts]).astype(np.int64)
        given, received = np.concatenate(parts), sizes[:, self.rank].tolist()
        if self.num_replicas == 1 or not sizes.any():
            return given
        taken = torch.empty(sum(received), dtype=torch.from_numpy(given).dtype, device=_device())
        distributed.all_to_all_single(
            taken, torch.from_numpy(given).to(_device()), received, sizes[self.rank].tolist()
        )
        return taken.cpu().numpy()


ALONE = AllRanks()


def _device() -> str:
    """NCCL moves what lies on a GPU alone."""
    from torch import distributed

    return "cuda" if distributed.get_backend() == "nccl" else "cpu"
