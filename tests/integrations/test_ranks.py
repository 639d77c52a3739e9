"""The callbacks on two ranks draw one sequence between them; they resume, and refuse what would share out twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from bss import CurriculumSampler, Learned
from tests.helpers import forked
from tests.helpers.two_modalities import EPOCHS, NUM_SAMPLES


@pytest.mark.nightly
def test_two_ranks_share_one_sequence(tmp_path: Path, forkservers: Path) -> None:
    for library in ("lightning.pytorch", "transformers", "accelerate"):
        pytest.importorskip(library, reason="needs the extras lightning and transformers")
    forked.run_ranks("tests.helpers.trainer_ranks", tmp_path, forkservers)
    assert "Trainer(use_distributed_sampler=False)" in (tmp_path / "refused.txt").read_text()
    check(tmp_path)


def check(folder: Path) -> None:
    first = CurriculumSampler(NUM_SAMPLES, Learned(score_update="online"), seed=1).sequence()
    for name in ("lightning", "transformers"):
        ranks = [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(2)]
        assert ranks[0]["scores"] == ranks[1]["scores"]
        assert np.std(ranks[0]["scores"]) > 0
        assert {rank["epoch"] for rank in ranks} == {EPOCHS}
        drawn = np.stack([rank["drawn"] for rank in ranks])
        assert drawn.shape == (2, EPOCHS * NUM_SAMPLES // 2)
        assert drawn[:, : NUM_SAMPLES // 2].T.ravel().tolist() == first.tolist()
