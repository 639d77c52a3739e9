"""Where the samples lie changes nothing; what augmentation does to them is what its reference does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bss.data.packed import Meta, ModalityMeta, PackedSplit
from bss.model import build_model
from bss.training.augment import Augmentation, cropped, masked, some_frames
from bss.training.loader import Resident, batches, cached
from bss.training.methods.joint import Joint
from bss.training.runtime import Runtime
from bss.training.settings import Augment
from bss.training.trainer import Trainer
from bss.types import PRESENT, Split
from tests.helpers.toy import SETTINGS, TRAIN, packed_toy

MODES = ["device", "memory", "disk", "auto"]


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[Split, PackedSplit]:
    return packed_toy(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_every_cache_and_any_number_of_workers_give_the_same_batches(
    splits: dict[Split, PackedSplit], mode: str, num_workers: int
) -> None:
    runtime = Runtime.start(SETTINGS, num_workers=num_workers)
    train = splits[Split.TRAIN]
    order = np.random.default_rng(0).permutation(len(train))
    found = list(batches(cached(train, mode, runtime), order, 16, runtime, skip=1))
    assert len(found) == 5
    for number, batch in enumerate(found, 1):
        rows = order[16 * number : 16 * (number + 1)]
        assert batch.indices.tolist() == rows.tolist()
        assert batch.labels.tolist() == train.labels[rows].tolist()
        for name, values in train.read(rows).items():
            assert (batch.inputs[name].numpy() == values).all()
            assert batch.inputs[name].numpy().dtype == values.dtype


def test_a_cache_keeps_what_a_split_is(splits: dict[Split, PackedSplit]) -> None:
    runtime, train = Runtime.start(SETTINGS), splits[Split.TRAIN]
    for mode in MODES:
        held = cached(train, mode, runtime)
        assert (len(held), held.ids, held.meta) == (len(train), train.ids, train.meta)
    assert isinstance(cached(train, "auto", runtime), Resident)
    assert not isinstance(cached(train, "memory", runtime).arrays["m0"], np.memmap)


@pytest.mark.parametrize("mode", MODES)
def test_some_pairs_of_a_cached_split_are_those_pairs(splits: dict[Split, PackedSplit], mode: str) -> None:
    runtime, train = Runtime.start(SETTINGS), splits[Split.TRAIN]
    rows = np.array([7, 3, 90])
    (batch,) = batches(cached(train, mode, runtime).only(rows), np.arange(3), 8, runtime)
    assert batch.labels.tolist() == train.labels[rows].tolist()
    for name, values in train.read(rows).items():
        assert (batch.inputs[name].numpy() == values).all()


def test_training_ends_the_same_from_every_cache(splits: dict[Split, PackedSplit]) -> None:
    ends = []
    for mode in MODES:
        runtime = Runtime.start(SETTINGS)
        trainer = Trainer(build_model(splits[Split.TRAIN].meta, {}, 0), Joint(), TRAIN, runtime)
        trainer.train_epoch(batches(cached(splits[Split.TRAIN], mode, runtime), np.arange(96), 16, runtime), 0.01)
        ends.append(trainer.model.state_dict())
    for end in ends[1:]:
        assert all(torch.equal(end[name], values) for name, values in ends[0].items())


def test_a_missing_modality_says_nothing_and_is_not_learned_from(splits: dict[Split, PackedSplit]) -> None:
    model = build_model(splits[Split.TRAIN].meta, {}, 0).eval()
    inputs = {name: torch.from_numpy(values) for name, values in splits[Split.TRAIN].read(np.arange(6)).items()}
    there = torch.tensor([True, True, False, True, False, True])
    masks = {f"m0{PRESENT}": there, f"m1{PRESENT}": torch.ones(6, dtype=torch.bool)}
    whole, gaps = model(inputs), model(inputs | masks)
    for plain, masked_out in ((whole.logits["m0"], gaps.logits["m0"]), (whole.features["m0"], gaps.features["m0"])):
        assert torch.equal(masked_out[there], plain[there])
        assert not masked_out[~there].any()
    assert torch.equal(gaps.logits["m1"], whole.logits["m1"])
    assert torch.equal(gaps.logits["fused"][there], whole.logits["fused"][there])
    model.zero_grad()
    gaps.logits["m0"][~there].sum().backward()
    assert all(not weights.grad.any() for weights in model.parameters() if weights.grad is not None)


def meta(**shapes: tuple[int, ...]) -> Meta:
    modalities = {
        name: ModalityMeta(kind="image", shape=shape, mean=5, std=1, encoder="small_cnn")
        for name, shape in shapes.items()
    }
    return Meta(dataset="made up", classes=("a", "b"), modalities=modalities, num_pairs={Split.TRAIN: 1})


def seeded(change: Callable[[], Tensor], seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return change()


def test_only_what_is_named_is_changed() -> None:
    augment = Augmentation({"image": Augment(flip=True)}, meta(image=(3, 8, 8), other=(3, 8, 8)))
    inputs = {"image": torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8), "other": torch.rand(16, 3, 8, 8)}
    changed = augment(inputs)
    assert changed["other"] is inputs["other"]
    assert changed["image"].dtype == torch.float32


def test_a_flip_mirrors_half_of_the_samples() -> None:
    values = torch.rand(400, 3, 6, 9)
    flipped = seeded(lambda: cropped(values, None, flip=True))
    mirrored = (flipped - values.flip(-1)).abs().amax(dim=(1, 2, 3)) < 1e-5
    same = (flipped - values).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert (mirrored ^ same).all()
    assert 140 < int(mirrored.sum()) < 260


def test_a_crop_is_a_window_of_the_picture() -> None:
    """A picture of its own coordinates tells where each window lies."""
    height, width = 40, 60
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    values = torch.stack([rows, columns]).float().repeat(300, 1, 1, 1)
    windows = seeded(lambda: cropped(values, 0.25, flip=False))
    for window in windows:
        top, left = window[0, 0, 0], window[1, 0, 0]
        tall, wide = window[0, -1, 0] - top, window[1, 0, -1] - left
        side = tall / (height - 1)
        assert 0.45 <= side <= 1.001
        assert wide / (width - 1) == pytest.approx(float(side), abs=0.05)
        inner = torch.linspace(float(top), float(top + tall), height)
        assert window[0, :, 5].tolist() == pytest.approx(inner.tolist(), abs=0.6)
    sides = (windows[:, 0, -1, 0] - windows[:, 0, 0, 0]) / (height - 1)
    assert sides.min() < 0.6
    assert sides.max() > 0.95
    assert (sides**2).mean() == pytest.approx(0.625, abs=0.05)


def test_all_frames_of_a_video_are_cropped_alike() -> None:
    frame = torch.rand(20, 3, 1, 12, 12)
    windows = seeded(lambda: cropped(frame.repeat(1, 1, 4, 1, 1), 0.3, flip=True))
    assert all(torch.equal(windows[:, :, 0], windows[:, :, other]) for other in range(4))
    assert len({tuple(window.flatten().tolist()) for window in windows}) == 20


@pytest.mark.parametrize("axis", [-1, -2])
def test_a_mask_hides_a_run_of_places(axis: int) -> None:
    values = 10 + torch.rand(500, 1, 12, 15)
    hidden = (seeded(lambda: masked(values, axis, 4, 5.0)) == 5.0).squeeze(1)
    other = 1 if axis == -1 else 2
    assert torch.equal(hidden.all(dim=other), hidden.any(dim=other)), "whole rows or columns"
    lines = hidden.all(dim=other)
    lengths = lines.sum(dim=1)
    assert set(lengths.tolist()) == {0, 1, 2, 3, 4}
    for line in lines:
        places = torch.nonzero(line).flatten().tolist()
        assert places == list(range(places[0], places[0] + len(places))) if places else True
    assert lines.any(dim=0).all(), "every place is hidden in some sample"


def test_frames_are_drawn_for_each_sample_and_keep_their_order() -> None:
    values = torch.arange(7.0).reshape(1, 1, 7, 1, 1).repeat(300, 2, 1, 3, 3)
    drawn = seeded(lambda: some_frames(values, 3))
    assert drawn.shape == (300, 2, 3, 3, 3)
    frames = drawn[:, 0, :, 0, 0]
    assert (frames.diff(dim=1) > 0).all()
    assert len(set(map(tuple, frames.tolist()))) == 35, "every choice of three of seven"
    assert (drawn == frames[:, None, :, None, None]).all()


def test_frames_whose_draws_are_alike_are_no_more_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *size, device=None: torch.zeros(size, device=device))
    assert some_frames(torch.arange(8.0).reshape(2, 1, 4, 1, 1), 2).shape == (2, 1, 2, 1, 1)


def test_a_step_repeats_its_draws_and_the_next_has_others(splits: dict[Split, PackedSplit]) -> None:
    train = splits[Split.TRAIN]
    seen: list[Tensor] = []
    change = Augmentation({"m0": Augment(crop=0.5, flip=True)}, train.meta)

    def watched(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        seen.append(change(inputs)["m0"])
        return change(inputs)

    for _ in range(2):
        runtime = Runtime.start(SETTINGS)
        trainer = Trainer(build_model(train.meta, {}, 0), Joint(), TRAIN, runtime, 3, watched)
        batch = next(batches(train, np.arange(16), 16, runtime))
        trainer.train_epoch([batch, batch], 0.01)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        ({"flip": True}, (6,), r"augment.x: images or spectrograms \(C, H, W\) are needed, got \(6,\)"),
        ({"num_frames": 2}, (3, 8, 8), r"augment.x: frames \(C, T, H, W\) are needed"),
        ({"num_frames": 5}, (3, 4, 8, 8), r"augment.x.num_frames: 5, and a sample has 4"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(change: dict[str, int], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation({"x": Augment(**change)}, meta(x=shape))


def test_the_folder_is_not_needed_once_the_data_are_held(tmp_path: Path) -> None:
    train = packed_toy(tmp_path / "toy")[Split.TRAIN]
    held = cached(train, "device", Runtime.start(SETTINGS))
    (tmp_path / "toy").rename(tmp_path / "gone")
    assert len(list(batches(held, np.arange(96), 32, Runtime.start(SETTINGS)))) == 3
