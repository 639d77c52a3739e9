"""Random changes of the training samples, on the device, a whole batch at a time."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from bss.data.packed import Meta
from bss.errors import InputError
from bss.training.settings import Augment


class Augmentation:
    """The changes that params.yaml wants for each modality; every sample has its own draw, from torch's generator.

    Args:
        settings: modality -> its changes; the others are left as they are.
        meta: description of the packed data set.

    Raises:
        InputError: a modality of another shape than the change needs.
    """

    def __init__(self, settings: Mapping[str, Augment], meta: Meta) -> None:
        self.settings = settings
        means = {name: modality.mean for name, modality in meta.modalities.items()}
        self._means = {name: mean for name, mean in means.items() if isinstance(mean, float)}
        for name, change in settings.items():
            num_axes = len(meta.modalities[name].shape)
            if num_axes not in (3, 4) or (change.num_frames and num_axes != 4):
                needed = "frames (C, T, H, W)" if change.num_frames else "images or spectrograms (C, H, W)"
                raise InputError(f"augment.{name}: {needed} are needed, got {meta.modalities[name].shape}")
            if change.num_frames and change.num_frames > meta.modalities[name].shape[1]:
                raise InputError(
                    f"augment.{name}.num_frames: {change.num_frames}, and a sample has "
                    f"{meta.modalities[name].shape[1]}; take as many at most"
                )

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Packed values (B, *shape) -> changed ones; those that are changed become float32."""
        return {
            name: self._changed(values, self.settings[name], self._means[name]) if name in self.settings else values
            for name, values in inputs.items()
        }

    def _changed(self, values: Tensor, change: Augment, mean: float) -> Tensor:
        if change.num_frames:
            values = some_frames(values, change.num_frames)
        values = values.float()
        if change.crop or change.flip:
            values = cropped(values, change.crop, flip=change.flip)
        if change.time_mask:
            values = masked(values, -1, change.time_mask, mean)
        return masked(values, -2, change.frequency_mask, mean) if change.frequency_mask else values


def some_frames(values: Tensor, num_frames: int) -> Tensor:
    """Frames (B, C, T, H, W) -> `num_frames` of them, other ones for each sample, in their order."""
    draw = torch.rand(len(values), values.shape[2], device=values.device)
    kept = torch.zeros_like(draw, dtype=torch.bool).scatter_(1, draw.topk(num_frames, dim=1).indices, True)
    frames = values.transpose(1, 2)
    return frames[kept].reshape(len(values), num_frames, *frames.shape[2:]).transpose(1, 2)


def cropped(values: Tensor, least: float | None, *, flip: bool) -> Tensor:
    """A window of each image (B, C, [T,] H, W), enlarged to the whole, and maybe its mirror image.

    Args:
        values: float32.
        least: share of the area that a window has at least; its place and share are uniform. None: the whole.
        flip: half of the samples are mirrored, left to right.
    """
    count, device = len(values), values.device
    draw = torch.rand(4, count, device=device)
    side = (least + (1 - least) * draw[0]).sqrt() if least else torch.ones(count, device=device)
    sign = torch.where(draw[1] < 0.5, -1.0, 1.0) if flip else torch.ones(count, device=device)
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1] = side * sign, side
    theta[:, :, 2] = (2 * draw[2:] - 1).T * (1 - side)[:, None]
    planes = values.flatten(1, -3)
    grid = affine_grid(theta, list(planes.shape), align_corners=False)
    return grid_sample(planes, grid, padding_mode="border", align_corners=False).reshape(values.shape)


def masked(values: Tensor, axis: int, longest: int, mean: float) -> Tensor:
    """A run of at most `longest` places along an axis takes the mean; its length and place are uniform.

    Source: SpecAugment (Interspeech 2019), one mask.
    """
    size, count = values.shape[axis], len(values)
    draw = torch.rand(2, count, device=values.device)
    length = (draw[0] * (min(longest, size) + 1)).floor()
    start = (draw[1] * (size - length + 1)).floor()
    places = torch.arange(size, device=values.device)
    hidden = (places >= start[:, None]) & (places < (start + length)[:, None])
    shape = [1] * values.ndim
    shape[0], shape[axis] = count, size
    return torch.where(hidden.reshape(shape), mean, values)
