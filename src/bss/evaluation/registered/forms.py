"""The forms that a program is written in, and how each is run: `torch.export` and ONNX."""

import logging
import warnings
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

Form = Literal["pt2", "onnx"]
Arrays = Mapping[str, np.ndarray]
"""Name -> (B, *shape), the values of an input or an output."""
EXTRA = "bss.json"
"""The description inside of a `.pt2` file; in ONNX it is the metadata `bss`."""


def traced(module: nn.Module, given: Any) -> Any:
    """A module as `torch.export` has it, for any number of rows."""
    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} for name in given}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it branches on the values of a mask
    try:
        with torch.no_grad():
            return torch.export.export(module, (given,), dynamic_shapes=(shapes,), strict=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _write_pt2(module: nn.Module, given: dict[str, Tensor], text: str, path: Path) -> None:
    content = BytesIO()  # torch wants the name of a file to end in .pt2
    torch.export.save(traced(module, given), content, extra_files={EXTRA: text})
    path.write_bytes(content.getvalue())


def _run_pt2(path: Path, tensors: Mapping[str, Tensor]) -> Arrays:
    with torch.no_grad():
        found = torch.export.load(BytesIO(path.read_bytes())).module()(dict(tensors))
    return {name: values.numpy() for name, values in found.items()}


def _write_onnx(module: nn.Module, given: dict[str, Tensor], text: str, path: Path) -> None:
    import onnx
    import onnxscript  # noqa: F401 - torch needs it, and says less clearly where it is missing

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    program = traced(module, given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written = torch.onnx.export(
            program, (given,), dynamo=True, verbose=False,
            input_names=list(given), output_names=getattr(module, "keys", None),
        )  # fmt: skip
    model = written.model_proto  # type: ignore[union-attr]
    model.metadata_props.add(key="bss", value=text)
    onnx.save(model, path)


def _run_onnx(path: Path, tensors: Mapping[str, Tensor]) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    given = {name: values.numpy() for name, values in tensors.items()}
    return dict(zip(names, session.run(names, given), strict=True))


Write = Callable[[nn.Module, dict[str, Tensor], str, Path], None]
Run = Callable[[Path, Mapping[str, Tensor]], Arrays]
FORMS: dict[str, tuple[Write, Run]] = {"pt2": (_write_pt2, _run_pt2), "onnx": (_write_onnx, _run_onnx)}
