"""Any encoder of the transformers library: texts, images, spectrograms, videos."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from bss.data.packed import PADDING
from bss.encoders._pretrained import library, probed
from bss.encoders.encoder import Encoder
from bss.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bss.data.packed import ModalityMeta

Feed = Callable[["Tensor"], dict[str, "Tensor"]]


class HuggingFace(Encoder):
    """A model that `AutoModel` loads from a folder or from the hub.

    Texts give token ids and the mask of what is no padding: pack them with the model's own tokenizer. Images give
    `pixel_values`, spectrograms (1, F, T) the `input_values` (B, T, F) of AST, videos `pixel_values` (B, T, C, H, W)
    as VideoMAE takes them. Values are normalised by the training split, not by the model's own processor. Not
    supported: models of raw sound, models of two towers, models with a decoder. The size of a sample is that of the
    model's configuration.
    """

    example: ClassVar[Mapping[str, Any]] = {"model": "somewhere"}

    model: str = Field(min_length=1)
    """A folder with `config.json` (and weights), or a name of the hub."""
    random_weights: bool = False
    """Only the configuration is read."""
    pool: Literal["pooled", "mean"] = "pooled"
    """The model's own pooled output, where it has one, or the mean of the last hidden states."""
    freeze: bool = False
    """The model stays as it is, in eval mode, and only what follows it is trained."""
    lora_rank: int | None = Field(default=None, ge=1)
    """Train adapters of that rank beside every linear layer, and nothing else of the model."""

    @model_validator(mode="after")
    def _something_is_meant(self) -> Self:
        if self.freeze and self.lora_rank is not None:
            raise InputError("lora_rank trains adapters of a frozen model; leave freeze out")
        return self

    def build(self, modality: "ModalityMeta") -> "nn.Module":
        """(B, *shape) -> (B, hidden size)."""
        import torch

        model = self._model()
        network = _wrapped(model, _feed(model, modality), self.pool, self.freeze)
        sample = torch.ones(1, *modality.shape)
        with torch.enable_grad():
            features = probed(self.name, modality.shape, network.eval(), sample)
            _freeze_unreached(model, features)
        network.dim = features.shape[1]
        if self.freeze:
            model.requires_grad_(False)
        if self.lora_rank is not None:
            _adapt(model, self.lora_rank)
        result: nn.Module = network.train()
        return result

    def _model(self) -> Any:
        transformers = library(self.name, "transformers")
        try:
            if self.random_weights:
                config = transformers.AutoConfig.from_pretrained(self.model)
                return transformers.AutoModel.from_config(config).float()
            return transformers.AutoModel.from_pretrained(self.model).float()
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"huggingface finds no model at '{self.model}': {reason:.200}") from error


def _feed(model: Any, modality: "ModalityMeta") -> Feed:
    """The function that makes the model's arguments from samples of a modality.

    Raises:
        InputError: the model takes something else.
    """
    name, shape = model.main_input_name, modality.shape
    if modality.tokens is not None and name == "input_ids":
        return _words(model, modality, len(modality.tokens))
    if modality.tokens is None and name == "pixel_values" and len(shape) == 3:
        channels = getattr(model.config, "num_channels", None)
        grey = shape[0] == 1 and channels == 3
        return lambda values: {name: values.expand(-1, 3, -1, -1) if grey else values}
    if modality.tokens is None and name == "pixel_values" and len(shape) == 4:
        return lambda values: {name: values.transpose(1, 2)}
    if modality.tokens is None and name == "input_values" and len(shape) == 3 and shape[0] == 1:
        return lambda values: {name: values[:, 0].transpose(1, 2)}
    taken = "the ids of words" if name == "input_ids" else f"what {model.config.model_type} takes as {name}"
    raise InputError(f"huggingface takes {taken}, got {modality.kind} samples of the shape {shape}")


def _words(model: Any, modality: "ModalityMeta", num_tokens: int) -> Feed:
    padding = PADDING if modality.padding is None else modality.padding
    if num_tokens > model.config.vocab_size:
        raise InputError(
            f"huggingface takes the {model.config.vocab_size} tokens of its model, got {num_tokens}: pack the texts "
            "with the tokenizer of the model"
        )

    def feed(values: "Tensor") -> "dict[str, Tensor]":
        ids = values.long()
        there = ids != padding
        # Attention to nothing at all may be NaN: a text without a word is one of padding.
        return {"input_ids": ids, "attention_mask": (there | ~there.any(dim=1, keepdim=True)).long()}

    return feed


def _wrapped(model: Any, feed: Feed, pool: str, freeze: bool) -> Any:
    from torch import nn

    class Encoded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def train(self, mode: bool = True) -> Self:
            super().train(mode)
            if freeze:
                self.model.eval()
            return self

        def forward(self, values: "Tensor") -> "Tensor":
            arguments = feed(values)
            return _pooled(self.model(**arguments), arguments.get("attention_mask"), pool)

    return Encoded()


def _pooled(output: Any, mask: "Tensor | None", pool: str) -> "Tensor":
    """The features (B, dim) from the output of a model.

    Raises:
        InputError: the output has neither a pooled output nor hidden states.
    """
    pooled, hidden = getattr(output, "pooler_output", None), getattr(output, "last_hidden_state", None)
    if pooled is not None and (pool == "pooled" or hidden is None):
        return cast("Tensor", pooled.flatten(1))
    if hidden is None:
        raise InputError(f"the model gives {', '.join(output)}, and neither pooler_output nor last_hidden_state")
    if hidden.ndim == 4:
        return cast("Tensor", hidden.mean(dim=(2, 3)))
    if mask is None:
        return cast("Tensor", hidden.mean(dim=1))
    return cast("Tensor", (hidden * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))


def _freeze_unreached(model: Any, features: "Tensor") -> None:
    """Freeze the weights that have no part in the output, for example of a pooler that is not asked."""
    from torch import autograd

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight, gradient in zip(weights, autograd.grad(features.sum(), weights, allow_unused=True), strict=True):
        weight.requires_grad_(gradient is not None)


def _adapt(model: Any, rank: int) -> None:
    """Freeze a model, and put an adapter beside each of its linear layers, and into attention of torch as a whole.

    That attention reads the weights of the linear layer within and never calls it.
    """
    from torch import nn

    peft = library("huggingface", "peft")
    attention = [name for name, part in model.named_modules() if isinstance(part, nn.MultiheadAttention)]
    linear = [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and name.rpartition(".")[0] not in attention
    ]
    if not linear and not attention:
        raise InputError(f"lora_rank {rank}: {model.config.model_type} has no linear layer")
    reached = {
        name for name in (*linear, *attention) if any(w.requires_grad for w in model.get_submodule(name).parameters())
    }
    model.requires_grad_(False)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=sorted(reached), lora_dropout=0.0)
    peft.inject_adapter_in_model(config, model)
