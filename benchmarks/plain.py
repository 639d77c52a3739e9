"""An epoch of avdigits by `fit` against a loop written by hand: the same steps, validation and best weights."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.figures import Figure, ratios
from benchmarks.overhead import dataset
from bss import CurriculumSampler, Random
from bss.data.packed import PackedSplit, open_split
from bss.data.packing.pack import pack
from bss.model import MultimodalModel, build_model
from bss.training.checkpoint import Checkpoints
from bss.training.loader import cached
from bss.training.loop import fit
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.settings import RuntimeSettings, Train
from bss.training.trainer import Trainer
from bss.types import FUSED, Split

BATCH_SIZE, LR = 32, 0.002
EPOCHS = 5
SETTINGS = Train(
    epochs=EPOCHS, batch_size=BATCH_SIZE, optimizer="adamw", lr=LR, weight_decay=1e-4, momentum=0.9,
    lr_schedule="constant", keep="best",
)  # fmt: skip


def measure(quick: bool = False) -> list[Figure]:
    """In turns, each training from the same weights; the ratio of each turn."""
    data = dataset()
    seconds: dict[str, list[float]] = {"hand": [], "fit": []}
    with tempfile.TemporaryDirectory() as folder:
        pack(data, Path(folder) / "packed")
        runtime = Runtime.start(
            RuntimeSettings(
                device="cpu", precision="float32", compile=False, channels_last=False, deterministic=True, threads=1
            )
        )
        train, validation = (
            cached(open_split(Path(folder) / "packed", split), "device", runtime)
            for split in (Split.TRAIN, Split.VALIDATION)
        )
        for number in range(1 + (2 if quick else 9)):
            for name, taken in seconds.items():
                model = build_model(train.meta, {}, 0)
                start = time.process_time()
                if name == "hand":
                    by_hand(model, train, validation)
                else:
                    sampler = CurriculumSampler(len(train), Random())
                    kept = Checkpoints(Path(folder) / f"checkpoints-{number}", 10)
                    fit(
                        Trainer(model, Joint(), SETTINGS, runtime),
                        sampler,
                        train,
                        validation,
                        SETTINGS,
                        EPOCHS,
                        None,
                        kept,
                    )
                if number:  # the first one warms up
                    taken.append((time.process_time() - start) / EPOCHS)
    return [
        Figure(f"{data.name}: an epoch of a loop by hand, with validation", seconds["hand"], " s"),
        Figure("an epoch of `fit`, with a checkpoint", seconds["fit"], " s"),
        Figure("fit / by hand", ratios(seconds["fit"], seconds["hand"]), "", ("at most", 1.05)),
    ]


def by_hand(model: MultimodalModel, train: PackedSplit, validation: PackedSplit) -> None:
    """What someone without this library would write."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=1e-4, fused=True)
    inputs, labels = tensors(train)
    shown, truth = tensors(validation)
    best, best_weights = -1.0, model.state_dict()
    for epoch in range(EPOCHS):
        model.train()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
        total = torch.zeros(())
        for rows in order.split(BATCH_SIZE):
            logits = model({name: values[rows] for name, values in inputs.items()}).logits
            loss = torch.stack([cross_entropy(values, labels[rows]) for values in logits.values()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        model.eval()
        right = 0.0
        with torch.no_grad():
            for rows in torch.arange(len(truth)).split(BATCH_SIZE):
                logits = model({name: values[rows] for name, values in shown.items()}).logits
                right += float((logits[FUSED].argmax(1) == truth[rows]).sum())
        if right > best:
            best, best_weights = right, {name: values.clone() for name, values in model.state_dict().items()}
    model.load_state_dict(best_weights)


def tensors(split: PackedSplit) -> tuple[dict[str, Tensor], Tensor]:
    """Modality -> the values of all samples; the labels."""
    inputs = {name: torch.tensor(np.array(values)) for name, values in split.arrays.items()}
    return inputs, torch.tensor(split.labels)
