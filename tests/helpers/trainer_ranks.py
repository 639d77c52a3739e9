"""A training by the callbacks on one of two ranks, for tests/integrations/test_ranks.py: RANK PORT FOLDER."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bss import Learned
from tests.helpers.two_modalities import EPOCHS


def main(rank: str, port: str, folder: str) -> None:
    """Train with both callbacks in turn; write what this rank drew, and the scores that it ends with."""
    os.environ |= {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "NODE_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, train in {"lightning": with_lightning, "transformers": with_transformers}.items():
        drawn, sampler = train(Path(folder))
        found = {"drawn": drawn, "scores": sampler.scores.tolist(), "epoch": sampler.epoch}
        Path(folder, f"{name}-{rank}.json").write_text(json.dumps(found))


def scheduler() -> Learned:
    return Learned(score_update="online")


def with_lightning(folder: Path) -> tuple[list[int], Any]:
    import lightning.pytorch as pl
    from torch.utils.data import DataLoader

    from bss.errors import InputError
    from bss.integrations.lightning import CurriculumCallback
    from tests.helpers.two_modalities import BATCH_SIZE, samples
    from tests.integrations.test_lightning import Module

    def fitted(**settings: Any) -> tuple[Any, Any]:
        module, callback = Module(), CurriculumCallback(scheduler(), seed=1)
        trainer = pl.Trainer(
            accelerator="cpu", strategy="ddp", devices=2, max_epochs=EPOCHS, logger=False, callbacks=[callback],
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **settings,
        )  # fmt: skip
        trainer.fit(module, DataLoader(samples(), batch_size=BATCH_SIZE // 2))
        return module, callback

    try:
        fitted()
    except InputError as error:
        (folder / "refused.txt").write_text(str(error))
    module, callback = fitted(use_distributed_sampler=False)
    return [index for batch in module.drawn for index in batch], callback.sampler


def with_transformers(folder: Path) -> tuple[list[int], Any]:
    from tests.helpers.two_modalities import BATCH_SIZE, STEPS
    from tests.integrations.test_transformers import trainer_of

    settings = {"per_device_train_batch_size": BATCH_SIZE // 2, "ddp_backend": "gloo"}
    whole = trainer_of(folder / "out", scheduler(), **settings, save_strategy="steps", save_steps=STEPS + 2)
    whole.train()
    again = trainer_of(folder / "again", scheduler(), **settings)
    again.train(resume_from_checkpoint=str(folder / f"out/checkpoint-{STEPS + 2}"))
    assert np.array_equal(again.curriculum.sampler.scores, whole.curriculum.sampler.scores)
    return whole.train_dataset.drawn, whole.curriculum.sampler


if __name__ == "__main__":
    main(*sys.argv[1:])
