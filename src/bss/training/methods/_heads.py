"""One head for all modalities."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from bss.model import MultimodalModel


def share_head(model: "MultimodalModel") -> "nn.Linear":
    """Have all modalities share one linear head, as wide as the widest features; for `Method.prepare`.

    Features narrower than that are brought to its width by a linear layer without bias.
    """
    from torch import nn

    heads = {name: model.branch(name).head for name in model.branches}
    width = max(head.in_features for head in heads.values())
    shared = nn.Linear(width, next(iter(heads.values())).out_features)
    for name, head in heads.items():
        branch = model.branch(name)
        if head.in_features < width:
            branch.encoder = nn.Sequential(branch.encoder, nn.Linear(head.in_features, width, bias=False))
        branch.head = shared
    return shared
