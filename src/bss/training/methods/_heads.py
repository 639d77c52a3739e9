"""One head for all modalities, and features of one width."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from bss.model import Branch, MultimodalModel


def share_head(model: "MultimodalModel") -> "nn.Linear":
    """Have all modalities share one linear head, as wide as the widest features; for `Method.prepare`.

    Features narrower than that are brought to its width by a linear layer without bias.
    """
    from torch import nn

    heads = {name: model.branch(name).head for name in model.branches}
    width = max(head.in_features for head in heads.values())
    shared = nn.Linear(width, next(iter(heads.values())).out_features)
    for name, head in heads.items():
        if head.in_features < width:
            _widen(model.branch(name), width)
        model.branch(name).head = shared
    return shared


def widen(model: "MultimodalModel") -> int:
    """Bring all features to the width of the widest, which it gives; for `Method.prepare`, before its heads.

    Narrower ones get a linear layer without bias and a new head; a fusion of features has to be put in anew.
    """
    from torch import nn

    heads = {name: model.branch(name).head for name in model.branches}
    width: int = max(head.in_features for head in heads.values())
    num_classes = next(iter(heads.values())).out_features
    for name, head in heads.items():
        if head.in_features < width:
            _widen(model.branch(name), width)
            model.branch(name).head = nn.Linear(width, num_classes)
    return width


def _widen(branch: "Branch", width: int) -> None:
    from torch import nn

    branch.encoder = nn.Sequential(branch.encoder, nn.Linear(branch.head.in_features, width, bias=False))
