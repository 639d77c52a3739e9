"""UmURL: each modality alone agrees with its share of all of them together, without a label."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from bss.registry import Count
from bss.training.objectives.objective import Objective

if TYPE_CHECKING:
    from torch import Tensor

    from bss.model import MultimodalModel, Outputs
    from bss.training.loader import Batch
    from bss.training.trainer import Trainer

Weight = Annotated[float, Field(ge=0)]


class UmURL(Objective):
    """Self-supervised: unimodal features are drawn to those that the fused ones decompose into.

    f_m are the features of modality m, e_m = embed_m(f_m), y_m = trunk(e_m), z_m = project_m(y_m); together
    y_u = trunk(K mean_m e_m) and u_m = project_m(y_u). With MSE over batch and width,

        loss = similarity (sum_m MSE(z_m, u_m) + sum_m MSE(z_m, mean_k z_k)) + sum over z_m, u_m of
            [ variance mean_d max(0, 1 - sqrt(var_d + 1e-4)) + covariance sum_{d != e} cov_de^2 / width of z ].

    Each modality alone and all together are views with random changes of their own, where `augment` has some. A
    sample without a modality leaves that modality's terms, and the mean. Source: UmURL (ACM MM 2023), of skeletons;
    what stands in the place of its shared transformer is inferred. Its joint weights are of the probing.
    """

    width: Count = 256
    """Of embedding and trunk; published 1024 and 2048."""
    projection: Count = 512
    """Width of z; published 4096."""
    similarity: Weight = 5.0
    """Weight of the distances."""
    variance: Weight = 5.0
    """Weight of what keeps each number of z from becoming constant."""
    covariance: Weight = 1.0
    """Weight of what keeps the numbers of z apart."""

    @property
    def trains_heads(self) -> bool:
        """It has no labels."""
        return False

    def prepare(self, model: "MultimodalModel") -> None:
        """Embeddings, trunk and projectors beside the model."""
        from bss.training.objectives._part import attach
        from bss.training.objectives._projections import Projections

        widths = {name: model.branch(name).head.in_features for name in model.branches}
        attach(model, Projections(widths, self.width, self.projection))

    def finish(self, model: "MultimodalModel") -> None:
        """The encoders stay, the rest goes."""
        from bss.training.objectives._part import detach

        detach(model)

    def step(self, trainer: "Trainer", batch: "Batch") -> "tuple[Outputs, Tensor]":
        """One update, by one pass of every encoder, or two where its inputs are changed at random."""
        from bss.training.objectives._part import presence, without_part
        from bss.training.objectives._projections import ALONE, SECOND, SHARE, regularity, similarities

        again = {
            f"{name}{SECOND}": values
            for name, values in trainer.another_view().items()
            if values is not batch.inputs[name]
        }
        outputs = trainer.forward({**batch.inputs, **again})
        alone, share = (
            {name: trainer.whole(outputs.features[f"{name}{kind}"].float()) for name in trainer.model.branches}
            for kind in (ALONE, SHARE)
        )
        there = presence(trainer, batch)
        intra, inter = similarities(alone, share, there)
        loss = self.similarity * (intra + inter)
        for group in (alone, share):
            for name, values in group.items():
                loss = loss + regularity(values[there[name]], self.variance, self.covariance)
        return self.descend(trainer, batch, without_part(outputs), loss)
