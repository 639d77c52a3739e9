"""Weights with which nothing, or not what a method goes by, would be trained."""

import pytest

from bss.training.methods.joint import Joint
from bss.training.methods.method import METHODS

GO_BY_HEADS = [name for name in METHODS if issubclass(METHODS[name], Joint) and METHODS[name].weights_of_heads]


def test_a_loss_without_a_term_is_refused() -> None:
    with pytest.raises(ValueError, match="fused_weight and unimodal_weight are both 0"):
        Joint(fused_weight=0, unimodal_weight=0)


def test_some_methods_go_by_the_heads() -> None:
    assert {"mses", "midas", "data_remixing", "gmm_loss", "mbsd", "iprm"} <= set(GO_BY_HEADS)
    METHODS.build({"name": "mbsd", "variant": "released", "unimodal_weight": 0})  # the fused loss trains them


@pytest.mark.parametrize("name", GO_BY_HEADS)
def test_heads_that_a_method_goes_by_are_trained(name: str) -> None:
    fields = METHODS[name].weights_of_heads
    with pytest.raises(ValueError, match=rf"{' and '.join(fields)} (is|are) 0: {name} goes by .* above 0"):
        METHODS.build({"name": name, **dict.fromkeys(fields, 0)})
    for kept in fields:
        METHODS.build({"name": name, **dict.fromkeys(fields, 0), kept: 0.1})


def test_other_methods_train_without_the_heads() -> None:
    for name in METHODS:
        if issubclass(METHODS[name], Joint) and name not in GO_BY_HEADS:
            METHODS.build({"name": name, "unimodal_weight": 0})
