"""Encoders as the contract tests take them: those with a required field need an example of it here."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from bss.encoders.encoder import ENCODERS, Encoder

REQUIRED: dict[str, dict[str, Any]] = {"huggingface": {"model": "somewhere"}}
"""Encoder -> its required fields, with values of the right type."""
TIMM = {"timm": ["test_resnet", "test_vit"]}
NUM_EXAMPLES = {"huggingface": 7, "timm": 2}
"""How many `examples` gives where it is not one: known without making them."""
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
    return (ENCODERS.build({"name": name, **REQUIRED.get(name, {})}),)


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
