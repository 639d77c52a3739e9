"""The weights that a stage left, judged as the parameters say."""

from pathlib import Path
from typing import TYPE_CHECKING

from bss.data.packed import PackedSplit, open_split
from bss.evaluation.judging.judgement import Judgement, judge
from bss.files import read_tensors
from bss.model import build_model
from bss.registry import lookup
from bss.training.runtime import Runtime
from bss.training.weights import WEIGHTS
from bss.types import FUSED, Split

if TYPE_CHECKING:
    from bss.params import Params


def judged(
    params: "Params", method: str, seed: int, folder: Path, split: PackedSplit, *, probed: bool = False
) -> Judgement:
    """What the model in a folder does on a split.

    Args:
        params: of the workspace.
        method: that trained it, by its name there.
        seed: of its training.
        folder: that holds its weights.
        split: what it is judged on.
        probed: whether linear probes of its features are fitted on the training split.

    Raises:
        InputError: the weights are missing or damaged.
    """
    model = build_model(split.meta, params.encoders, seed, params.fusion)
    settings, num_workers = params.evaluate, params.flow.num_workers
    runtime = Runtime.start(params.runtime, num_workers=num_workers, model=model, num_stages=params.max_parallel)
    component = lookup("training method", method, params.methods)
    component.prepare(model)
    model.load_state_dict(read_tensors(folder / WEIGHTS))
    chooses = settings.rule == "weighted" and FUSED in component.judged([*split.meta.modalities, FUSED])
    validation = open_split(split.folder, Split.VALIDATION) if chooses else None
    train = open_split(split.folder, Split.TRAIN) if probed else None
    return judge(model, split, component, settings.batch_size, runtime, settings.rule, validation, train)
