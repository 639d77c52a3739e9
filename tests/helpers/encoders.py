"""Encoders as the contract tests take them, and modalities that they are asked to take."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bss.data.packed import ModalityMeta
from bss.encoders.encoder import ENCODERS, Encoder

TIMM = {"timm": ["test_resnet", "test_vit"]}
NUM_EXAMPLES = {"huggingface": 7, "timm": 2}
"""Number of `examples` where it is not one, without making them."""
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@cache
def examples(name: str) -> tuple[Encoder, ...]:
    """One encoder or more of a name, small where there is a choice."""
    if name == "huggingface":
        plain: list[dict[str, Any]] = [
            {"model": folder(model)} for model in ("words", "image", "spectrogram", "video")
        ]
        further = [{**plain[0], "pool": "mean"}, {**plain[1], "lora_rank": 2}, {**plain[0], "freeze": True}]
        return tuple(ENCODERS.build({"name": name, **fields}) for fields in (*plain, *further))
    if name in TIMM:
        return tuple(ENCODERS.build({"name": name, "model": model}) for model in TIMM[name])
    return (ENCODERS.example(name),)


@cache
def folder(model: str) -> str:
    """A tiny model with random weights on the disk, as transformers writes it, for a modality of the tests."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    configurations = {
        "words": lambda: transformers.BertConfig(vocab_size=20, max_position_embeddings=16, **SMALL),
        "image": lambda: transformers.ViTConfig(image_size=8, patch_size=4, num_channels=3, **SMALL),
        "spectrogram": lambda: transformers.ASTConfig(
            max_length=41, num_mel_bins=65, patch_size=8, frequency_stride=8, time_stride=8, **SMALL
        ),
        "video": lambda: transformers.VideoMAEConfig(
            image_size=16, patch_size=8, num_frames=4, tubelet_size=2, **SMALL
        ),
    }
    place = Path(tempfile.mkdtemp(prefix="bss-tests-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.AutoModel.from_config(configurations[model]()).save_pretrained(place)
    return str(place)


MODALITIES = {
    "spectrogram": ModalityMeta(kind="audio", shape=(1, 65, 41), mean=0, std=1, encoder="small_cnn"),
    "image": ModalityMeta(kind="image", shape=(3, 8, 8), mean=0, std=1, encoder="small_cnn"),
    "tiny image": ModalityMeta(kind="image", shape=(1, 4, 4), mean=0, std=1, encoder="small_cnn"),
    "numbers": ModalityMeta(kind="features", shape=(6,), mean=0, std=1, encoder="mlp"),
    "words": ModalityMeta(kind="text", shape=(9,), mean=0, std=1, encoder="text_embedding", tokens=tuple("abcdefgh")),
    "video": ModalityMeta(kind="video", shape=(3, 4, 16, 16), mean=0, std=1, encoder="resnet18"),
    "flow": ModalityMeta(kind="flow", shape=(2, 8, 8), mean=0, std=1, encoder="small_cnn"),
    "sequence": ModalityMeta(kind="sequence", shape=(7, 5), mean=0, std=1, encoder="gru"),
    "skeleton": ModalityMeta(
        kind="skeleton", shape=(7, 8), mean=0, std=1, encoder="skeleton_transformer", dimensions=2
    ),
}
"""Modalities that an encoder may be asked to take, whichever encoder it is."""


@cache
def accepted(encoder: Encoder) -> dict[str, ModalityMeta]:
    """The modalities that an encoder does not refuse."""
    found = {}
    for name, modality in MODALITIES.items():
        try:
            encoder.build(modality)
        except ValueError:
            continue
        found[name] = modality
    return found


def made_up(modality: ModalityMeta, num_samples: int) -> np.ndarray:
    """Samples of a modality, (num_samples, *shape); no two alike."""
    generator = np.random.default_rng(0)
    if modality.tokens is not None:
        return generator.integers(len(modality.tokens), size=(num_samples, *modality.shape), dtype=np.int32)
    values = generator.normal(size=(num_samples, *modality.shape)).astype(np.float32)
    if modality.kind == "sequence":
        for row in range(num_samples):
            values[row, 1 + row % modality.shape[0] :] = np.nan
    return values
