"""The registered model as a program of another runtime, `torch.export` or ONNX: packed values in, probabilities out.

It is exported in float32, and only handed on where it gives the probabilities of `bss predict` on real rows.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bss.data.kinds.kind import KINDS
from bss.errors import InputError
from bss.evaluation.judging.judgement import decided
from bss.evaluation.registered.card import Best, restored
from bss.evaluation.registered.forms import FORMS, Arrays, Form, Write
from bss.evaluation.registered.prediction import load
from bss.files import replaced, write_text
from bss.measure.evidence import collect
from bss.model import MultimodalModel
from bss.training.methods.method import Method
from bss.types import FUSED, JUDGED, PRESENT, PROBABILITIES

TOLERANCE = 1e-4
"""How far a probability may be from that of `bss predict`."""
NUM_TRACED = 3
"""Rows that the program is traced with; any other number may be asked for."""


class Exported(NamedTuple):
    """A program that was written and checked."""

    path: Path
    description: Path
    num_rows: int
    max_difference: float
    """The largest between its probabilities and those of `bss predict`."""


class Program(nn.Module):
    """Packed values to the probabilities of each output; "judged" where another rule than the fusion's decides.

    Args:
        model: in eval mode.
        outputs: of the model.
        rule: see `Evaluate.rule`.
        weights: modality -> its weight, of the rule `weighted`.
    """

    def __init__(
        self, model: MultimodalModel, outputs: list[str], rule: str, weights: Mapping[str, float] | None
    ) -> None:
        super().__init__()
        self.model, self.outputs, self.rule, self.weights = model, outputs, rule, weights

    @property
    def names(self) -> list[str]:
        """The outputs, in order."""
        return [*self.outputs, *([JUDGED] if self._is_judged else [])]

    @property
    def keys(self) -> list[str]:
        """What they are called in the program."""
        return [f"{name}{PROBABILITIES}" for name in self.names]

    @property
    def _is_judged(self) -> bool:
        return FUSED in self.outputs and (self.weights is not None or self.rule != FUSED)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Input -> (B, *shape), to output -> (B, C), float32, each row with the sum 1."""
        logits = self.model(inputs).logits
        logs = {name: logits[name].float().log_softmax(dim=1) for name in self.outputs}
        found = {name: values.exp() for name, values in logs.items()}
        if self._is_judged:
            found[JUDGED] = self._judged(logs, found)
        return dict(zip(self.keys, found.values(), strict=True))

    def _judged(self, logs: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Tensor:
        if self.weights is not None:
            return torch.stack([weight * found[name] for name, weight in self.weights.items()]).sum(dim=0)
        added = [values for name, values in logs.items() if name != FUSED or self.rule == "sum_all"]
        return torch.stack(added).sum(dim=0).softmax(dim=1)


def export(folder: Path, best: Best, inputs: Arrays, form: Form, path: Path) -> Exported:
    """Write a registered model as a program, and beside it, in JSON, what it is given and what it answers.

    Args:
        folder: where its weights lie.
        best: its description.
        inputs: real rows, by which the program is checked.
        form: `pt2` (torch.export) or `onnx`.
        path: the file to write; the description has its name with `.json` behind it.

    Raises:
        InputError: a part of the model cannot be exported, or the program answers something else than `bss predict`.
    """
    model, method = load(best, folder)
    outputs = list(method.judged([*best.meta.modalities, FUSED]))
    program = Program(model, outputs, best.rule, best.weights)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in inputs.items()}
    text = json.dumps(_described(best, program, tensors, form), indent=2)
    names = {name: encoder["name"] for name, encoder in best.encoders.items()}
    names[FUSED] = f"{best.fusion['name']}, as {best.training['name']} has it,"
    difference = write_program(program, tensors, _reference(model, method, best, tensors), names, form, text, path)
    description = path.with_name(f"{path.name}.json")
    write_text(f"{text}\n", description)
    return Exported(path, description, len(next(iter(inputs.values()))), difference)


def write_program(
    program: Program,
    tensors: dict[str, Tensor],
    reference: Mapping[str, Any],
    names: Mapping[str, str],
    form: Form,
    text: str,
    path: Path,
) -> float:
    """Write a program; the largest difference between its probabilities and those it should have.

    Args:
        program: to be traced.
        tensors: input -> rows (B, *shape), to check it with.
        reference: output -> (B, C), the probabilities of these rows.
        names: modality -> its encoder, and "fused" -> the fusion, for a message.
        form: of the file.
        text: the description that goes into it.
        path: of the file.

    Raises:
        InputError: as of `export`; then there is no file.
    """
    program.eval()
    write, run = FORMS[form]
    with replaced(path) as temporary:
        try:
            write(program, _traced(tensors), text, temporary)
        except Exception as error:  # a dozen types of torch and onnxscript
            if (part := _culprit(program, names, tensors, write, temporary)) is None:
                raise
            raise InputError(f"{part} cannot be exported to {form}: {_first_line(error)}") from error
        alone = {name: values[:1] for name, values in tensors.items()}
        difference = max(_difference(run(temporary, given), reference) for given in (tensors, alone))
        if not difference <= TOLERANCE:
            raise InputError(
                f"the exported model is off by {difference:.2g} in a probability (at most {TOLERANCE:g} is allowed), "
                "so nothing was written"
            )
    return difference


def _reference(
    model: MultimodalModel, method: Method, best: Best, tensors: Mapping[str, Tensor]
) -> Mapping[str, Any]:
    """What `bss predict` says of the rows, on the CPU in float32."""
    labels = torch.zeros(len(next(iter(tensors.values()))), dtype=torch.int64)
    return decided(collect(model, [(tensors, labels)]), method, best.rule, best.weights)


def _difference(found: Arrays, reference: Mapping[str, Any]) -> float:
    return max(
        float(np.abs(values - reference[name.removesuffix(PROBABILITIES)][: len(values)]).max())
        for name, values in found.items()
    )


def _traced(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A few rows; a table of one has it several times, because a batch of one would be traced as always one."""
    rows = torch.arange(NUM_TRACED) % len(next(iter(tensors.values())))
    return {name: values[rows] for name, values in tensors.items()}


class _Part(nn.Module):
    """A part of a model that takes one dictionary, alone."""

    def __init__(self, part: nn.Module, name: str | None = None) -> None:
        super().__init__()
        self.part, self.name = part, name

    def forward(self, given: dict[str, Tensor]) -> Any:
        """What the part says of its own input, or of all."""
        return self.part(given) if self.name is None else self.part(given[self.name])


def _culprit(
    program: Program, names: Mapping[str, str], tensors: Mapping[str, Tensor], write: Write, path: Path
) -> str | None:
    """The encoder or the fusion that cannot be exported even alone; None where each can."""
    model, given = program.model, _traced(tensors)
    parts: dict[str, tuple[nn.Module, dict[str, Tensor]]] = {
        f"modality '{name}': the encoder {names[name]}": (_Part(model.branch(name), name), {name: given[name]})
        for name in model.branches
    }
    if model.fusion is not None:
        with torch.no_grad():
            features = model(given).features
        parts[f"the fusion {names[FUSED]}"] = (_Part(model.fusion), features)
    for name, (part, own) in parts.items():
        try:
            write(part.eval(), own, "", path)
        except Exception:  # the kind is that of the whole
            return name
    return None


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return f"{text.splitlines()[0]:.160}"


def _described(best: Best, program: Program, tensors: Mapping[str, Tensor], form: Form) -> dict[str, Any]:
    """What the program is given and what it answers, for a reader and for a program."""
    inputs = {
        name: {
            "shape": ["batch", *values.shape[1:]],
            "dtype": str(values.dtype).removeprefix("torch."),
            **_meaning(best, name),
        }
        for name, values in tensors.items()
    }
    return {
        "format": form,
        "model": {"method": best.method, "scheduler": best.scheduler, "seed": best.seed, "sha256": best.sha256},
        "inputs": inputs,
        "outputs": {name: {"shape": ["batch", len(best.meta.classes)], "dtype": "float32"} for name in program.keys},
        "meaning": "probabilities; a column a class, in the order of `classes`",
        "prediction": f"{JUDGED if JUDGED in program.names else FUSED}{PROBABILITIES}",
        "classes": list(best.meta.classes),
        "precision": "float32",
    }


def _meaning(best: Best, name: str) -> dict[str, Any]:
    if name not in best.kinds and name.endswith(PRESENT):
        return {"meaning": f"whether a row has '{name.removesuffix(PRESENT)}'; its values are zeros where not"}
    read = restored(KINDS, best.kinds[name])
    return {
        "meaning": "as `read` of the kind gives it; mean and deviation of the training split are taken off inside",
        "reads": " ".join((type(read).__doc__ or "").split("\n\n")[0].split()),
        "kind": best.kinds[name],
    }
