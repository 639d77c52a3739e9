"""The weights that are handed on: those of a training, without what only training needs."""

import shutil
from pathlib import Path

from bss.data.packed import Meta
from bss.files import read_tensors, write_tensors
from bss.params import Params
from bss.paths import Cell, Workspace
from bss.training.methods.method import Method

WEIGHTS = "model.safetensors"


def write_weights(params: Params, cell: Cell, workspace: Workspace, path: Path) -> None:
    """Write the weights of a cell as `Method.export` leaves them; a copy of the file where it takes nothing out.

    Args:
        params: of the grid.
        cell: a trained one.
        workspace: where its weights lie.
        path: the file to write.
    """
    method, trained = params.methods[cell.method], workspace.run(cell) / WEIGHTS
    if type(method).export is Method.export:
        shutil.copyfile(trained, path)
        return

    from bss.model import build_model
    from bss.training import weights

    model = build_model(Meta.read(workspace.packed), params.encoders, cell.seed, params.fusion)
    method.prepare(model)
    model.load_state_dict(read_tensors(trained))
    method.export(model)
    write_tensors(weights.take(model), path)
