"""What `auto` becomes: precision by device and size of the model, threads by the cores."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from bss.data.packed import Meta, ModalityMeta
from bss.encoders.encoder import ENCODERS
from bss.model import MultimodalModel, build_model
from bss.params import Params
from bss.parsing import checked, read_mapping
from bss.training import hardware
from bss.training.hardware import computes_bfloat16, cpu_flags, is_large, resolved
from bss.training.runtime import Runtime
from bss.types import Split
from tests.helpers import ROOT
from tests.helpers.toy import SETTINGS

AUTO = SETTINGS.model_copy(update={"precision": "auto", "threads": "auto"})
WORDS = tuple(map(str, range(10_000)))


def model(encoder: str, **fields: Any) -> MultimodalModel:
    kinds: dict[str, Any] = {"text": {"shape": (9,), "tokens": WORDS}, "features": {"shape": (300,)}}
    kind = "text" if encoder.startswith("text") else "features" if encoder == "mlp" else "image"
    modality = ModalityMeta(kind=kind, mean=0, std=1, encoder=encoder, **kinds.get(kind, {"shape": (1, 28, 28)}))
    meta = Meta(dataset="made up", classes=("a", "b"), modalities={"left": modality, "right": modality},
        num_pairs=dict.fromkeys(Split, 2))  # fmt: skip
    component = ENCODERS.build({"name": encoder, **fields})
    return build_model(meta, {"left": component, "right": component}, 0)


@pytest.mark.parametrize(
    ("encoder", "fields", "large"),
    [
        ("small_cnn", {}, False),
        ("small_cnn", {"width": 64}, True),
        ("resnet18", {}, True),
        ("mlp", {}, False),
        ("mlp", {"width": 2048, "num_layers": 3}, True),
        ("text_embedding", {"width": 128}, False),  # a table of 2.6 million weights, and no product with them
        ("text_transformer", {}, False),
        ("text_transformer", {"width": 256}, True),
    ],
)
def test_bfloat16_is_for_models_with_large_products(encoder: str, fields: Any, large: bool) -> None:
    assert is_large(model(encoder, **fields)) == large


@pytest.mark.parametrize(("able", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_precision_is_by_the_device_and_the_model(
    able: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "computes_bfloat16", lambda device: able)
    runtime = Runtime.start(AUTO, model=model("small_cnn", width=64))
    assert runtime.settings.precision == precision
    assert runtime.is_plain == (precision == "float32")
    for small in (model("small_cnn"), None):
        assert Runtime.start(AUTO, model=small).settings.precision == "float32"
    chosen = SETTINGS.model_copy(update={"precision": "bfloat16", "threads": 3})
    assert resolved(chosen, "cpu", model("small_cnn"), 1) == chosen


def test_threads_share_the_cores_among_stages_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    found = [resolved(AUTO, "cpu", None, num_processes).threads for num_processes in (1, 3, 8, 9)]
    assert found == [8, 2, 1, 1]
    raw = read_mapping(ROOT / "params.yaml")
    expected = {("auto", "auto"): 8, (2, "auto"): 4, ("auto", 3): 3, (16, "auto"): 1}
    for (threads, max_parallel), number in expected.items():
        runtime, flow = raw["runtime"] | {"threads": threads}, raw["flow"] | {"max_parallel": max_parallel}
        params = checked(raw | {"runtime": runtime, "flow": flow}, Params, Path("params.yaml"))
        assert params.max_parallel == number
        if threads == "auto":
            assert resolved(params.runtime, "cpu", None, params.max_parallel).threads * number <= 8


def test_what_was_chosen_is_a_fact_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(hardware, "computes_bfloat16", lambda device: True)
    runtime = Runtime.start(AUTO, model=model("small_cnn", width=64))
    try:
        assert runtime.facts == {"device": "cpu", "precision": "bfloat16", "threads": 2}
        assert torch.get_num_threads() == 2
    finally:
        Runtime.start(SETTINGS)


def test_the_processor_is_asked_by_torch_or_else_by_its_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    avx, amx = hardware.CPU_CHECKS
    for of_avx, of_amx in ((True, False), (False, True), (False, False)):
        monkeypatch.setattr(torch.cpu, avx, lambda value=of_avx: value, raising=False)
        monkeypatch.setattr(torch.cpu, amx, lambda value=of_amx: value, raising=False)
        assert computes_bfloat16("cpu") == (of_avx or of_amx)
    for name in (avx, amx):
        monkeypatch.delattr(torch.cpu, name)
    for flags, able in ({"fpu", "avx512_bf16"}, True), ({"fpu", "avx512f"}, False), (set[str](), False):
        monkeypatch.setattr(hardware, "cpu_flags", lambda flags=flags: flags)
        assert computes_bfloat16("cpu") == able
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu avx512_bf16\n\nprocessor : 1\nflags : fpu\n")
    assert cpu_flags(tmp_path / "cpuinfo") == {"fpu", "avx512_bf16"}
    assert cpu_flags(tmp_path / "none") == set()


@pytest.mark.parametrize(("capability", "able"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_is_asked_for_its_capability(
    capability: tuple[int, int], able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    assert computes_bfloat16("cuda") == able
