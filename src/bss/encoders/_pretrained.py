"""Weights that a user brings: read safely, fitted exactly, or refused with one line."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


def library(encoder: str, name: str) -> Any:
    """An optional library.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"{encoder} needs {name}: pip install bss[pretrained] ({error})") from error


def read_weights(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a `.safetensors` file, or of one that `torch.save` wrote a state dict to, on the CPU.

    Nothing but tensors is unpickled. A state dict under the key `state_dict` or `model` is taken from there.

    Raises:
        InputError: there is no such file, or it is no state dict.
    """
    import torch

    if not path.is_file():
        raise InputError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors answer a damaged file with a dozen types
        raise InputError(f"{path} holds no state dict: {str(error).splitlines()[0]:.100}") from error
    for key in ("state_dict", "model"):
        content = content[key] if isinstance(content, dict) and isinstance(content.get(key), dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise InputError(f"{path} holds no state dict: it is a {type(content).__name__}")
    return content


def fit_weights(network: "nn.Module", path: Path, stem: str, head: str | tuple[str, ...]) -> None:
    """Load the weights of a file into a network that has no classifier, all of them and no others.

    Args:
        network: the network that takes them.
        path: of the file; a classifier in it is left out.
        stem: name of the first convolution's weights; of one input channel they are summed over the file's.
        head: beginning of the names of the classifier's weights, or several.

    Raises:
        InputError: the file cannot be read, or its names or shapes are not those of the network.
    """
    given = {name: values for name, values in read_weights(path).items() if not _is_of(name, head)}
    wanted = network.state_dict()
    if stem in given and stem in wanted and wanted[stem].shape[1] == 1:
        given[stem] = given[stem].sum(dim=1, keepdim=True)
    if fault := _fault(given, wanted):
        raise InputError(f"{path} does not fit: {fault}")
    network.load_state_dict(given, strict=False)  # old files lack num_batches_tracked, which counts nothing we use


def frames_apart(network: "nn.Module", width: int) -> "nn.Module":
    """A network of images (B, C, H, W) -> (B, width) as one of videos (B, C, T, H, W): the mean over the frames."""
    from torch import nn

    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.dim = width

        def forward(self, videos: "Tensor") -> "Tensor":
            pictures = videos.transpose(1, 2).flatten(0, 1)
            features: Tensor = self.network(pictures)
            # Not len(videos): torch.export would take it for a constant.
            return features.view(videos.shape[0], -1, features.shape[1]).mean(dim=1)

    return Frames()


def mean_over(dims: tuple[int, ...], keepdim: bool = True) -> "nn.Module":
    """Adaptive pooling to one value a map without its gradient, which is not deterministic on CUDA."""
    from torch import nn

    class Mean(nn.Module):
        def forward(self, maps: "Tensor") -> "Tensor":
            return maps.mean(dim=dims, keepdim=keepdim)

    return Mean()


def probed(name: str, shape: tuple[int, ...], forward: "Callable[[Tensor], Tensor]", sample: "Tensor") -> "Tensor":
    """The output of a network of somebody else for one sample (1, *shape).

    Raises:
        InputError: in place of whatever the network says of a shape that it does not take.
    """
    try:
        return forward(sample)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name} takes what its model takes, got samples of the shape {shape}: {reason:.200}"
        ) from error


def _is_of(name: str, head: str | tuple[str, ...]) -> bool:
    heads = (head,) if isinstance(head, str) else head
    return any(name.startswith(f"{stem}.") for stem in heads)


def _fault(given: Mapping[str, "Tensor"], wanted: Mapping[str, "Tensor"]) -> str:
    """The first fault of a file's weights; empty where they fit."""
    if missing := [name for name in wanted if name not in given and not name.endswith("num_batches_tracked")]:
        return f"it lacks {len(missing)} of {len(wanted)} weights, the first is {missing[0]}"
    if strange := [name for name in given if name not in wanted]:
        return f"{len(strange)} of its weights have no place, the first is {strange[0]}"
    for name, values in given.items():
        if values.shape != wanted[name].shape:
            return f"{name} has the shape {tuple(values.shape)}, not {tuple(wanted[name].shape)}"
    return ""
