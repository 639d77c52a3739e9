"""InfoReg: encoders that lead are held in their prime learning window."""

from math import exp, tanh
from typing import Any, Literal

import pytest
import torch

from bss.model import MultimodalModel
from bss.training.methods.inforeg import InfoReg
from bss.training.methods.joint import Joint
from tests.helpers.gaps import with_gaps
from tests.helpers.steps import (
    Splits,
    assert_close,
    assert_same,
    first_batch,
    gradients,
    small_trainer,
    trained_weights,
)

Variant = Literal["published", "released"]


def no_evidence() -> Any:
    raise AssertionError("it asks for no pass")


def begun(splits: Splits, method: InfoReg, epoch: int = 0) -> Any:
    trainer = small_trainer(splits, method)
    method.begin_epoch(trainer, epoch, no_evidence, no_evidence)
    return trainer


def test_a_gradient_by_hand() -> None:
    [beta, none] = InfoReg().betas([0.6, 0.4])
    assert none == 0
    assert beta == pytest.approx(1.157291, abs=1e-6)
    assert 0.1 + beta * (0.5 - 0.4) == pytest.approx(0.215729, abs=1e-6)


@pytest.mark.parametrize("variant", ["published", "released"])
def test_who_leads_is_held(variant: Variant) -> None:
    method = InfoReg(variant=variant, strength=0.5)
    share = 0.1 / 0.95 if variant == "released" else 1.0
    gap = 5 - (3 + 1) / 2
    assert method.betas([3, 5, 1]) == pytest.approx([0, share * 0.5 * exp(tanh(gap)), 0])
    assert method.betas([5, 3, 4.5])[0] == pytest.approx(0.5 * exp(tanh(5 - 3.75)))
    assert method.betas([2, 2]) == [0, 0]


def slow_open(traces: list[float], window: int) -> bool:
    """After the epochs with these traces, beginning with as many zeros as the window is long."""
    if not traces:
        return True
    listed = [0.0] * window + traces
    now, before = (sum(listed[len(listed) - window - back : len(listed) - back]) / window for back in (0, 1))
    return (now - before) / now > 0.05


def test_the_window_closes_when_the_mean_trace_grows_no_more() -> None:
    method = InfoReg(window=10)
    rows = [[1.0] * 14, [2.0**epoch for epoch in range(14)], [2.0**-epoch for epoch in range(14)]]
    found, expected = [], []
    for epoch in range(15):
        listed = torch.tensor([[0.0] * 11 + row[:epoch] for row in rows], dtype=torch.float64)[:, -11:]
        found.append(method.open_windows(listed).tolist())
        expected.append([slow_open(row[:epoch], 10) for row in rows])
        assert InfoReg(window=10, variant="released").open_windows(listed).tolist() == [expected[-1][0]] * 3
    assert found == expected
    assert [row[0] for row in found] == [True] * 11 + [False] * 4
    assert all(row[1] for row in found)
    assert not found[6][2]


@pytest.mark.parametrize("variant", ["published", "released"])
def test_a_step_is_the_slow_one(splits: Splits, variant: Variant) -> None:
    batch, method = first_batch(splits), InfoReg(variant=variant, strength=0.5)
    trainer = begun(splits, method)
    with torch.no_grad():
        for weight in trainer.model.parameters():
            weight.add_(0.01)
    model: Any = trainer.model.train()
    outputs = model(batch.inputs)
    names = list(model.branches)
    features = {name: values.detach() for name, values in outputs.features.items()}
    s = []
    for name in names:
        part = outputs.logits[name]
        if variant == "published":  # W f + b / M
            first = sum(features[other].shape[1] for other in names[: names.index(name)])
            columns = model.fusion.weight[:, first : first + features[name].shape[1]]
            part = features[name] @ columns.T + model.fusion.bias / len(names)
        s.append(sum(float(part[row].detach().softmax(0)[y]) for row, y in enumerate(batch.labels.tolist())))
    loss = sum(torch.nn.functional.cross_entropy(z, batch.labels) for z in outputs.logits.values())
    model.zero_grad()
    loss.backward()
    trace = dict.fromkeys(names, 0.0)
    released = variant == "released"
    expected = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    for place, name in enumerate(names):
        others = [value for other, value in enumerate(s) if other != place]
        gap = s[place] - sum(others) / len(others)
        for part, weight in model.branch(name).encoder.named_parameters():
            whole = f"branches.{name}.encoder.{part}"
            if gap > 0:
                expected[whole] += (0.1 / 0.95 if released and place else 1.0) * 0.5 * exp(tanh(gap)) * 0.01
            if weight.ndim > 1:
                trace[name] += float((expected[whole] if released else weight.grad).square().mean())
    model.zero_grad()
    assert_close(gradients(trainer, batch), expected)
    assert trainer.memory["trace"].tolist() == pytest.approx(list(trace.values()), rel=1e-4)


def test_traces_go_from_epoch_to_epoch_and_a_closed_window_holds_nothing(splits: Splits) -> None:
    batch, method = first_batch(splits), InfoReg(window=1)
    trainer, joint = begun(splits, method), small_trainer(splits, Joint())
    number = len(trainer.model.branches)
    trainer.memory["trace"].fill_(3)
    method.begin_epoch(trainer, 1, no_evidence, no_evidence)
    assert trainer.memory["traces"].tolist() == [[0, 3]] * number
    trainer.memory["trace"].fill_(3)
    method.begin_epoch(trainer, 2, no_evidence, no_evidence)
    assert trainer.memory["open"].tolist() == [False] * number
    with torch.no_grad():
        for one, other in zip(trainer.model.parameters(), joint.model.parameters(), strict=True):
            one.add_(0.01)
            other.add_(0.01)
    assert_same(gradients(trainer, batch), gradients(joint, batch))


class SumOfHeads(Joint):
    """`joint` with the sum of the logits as its fusion."""

    def prepare(self, model: MultimodalModel) -> None:
        model.fusion = None


def test_without_strength_it_is_joint(splits: Splits) -> None:
    assert_same(trained_weights(splits, InfoReg(strength=0)), trained_weights(splits, Joint()))
    released = trained_weights(splits, InfoReg(strength=0, variant="released"))
    assert_same(released, trained_weights(splits, SumOfHeads()))


def test_what_a_sample_lacks_leads_nowhere(splits: Splits) -> None:
    batch = with_gaps(first_batch(splits), m0=list(range(16)))
    found = gradients(begun(splits, InfoReg()), batch)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert not any(found[name].any() for name in found if name.startswith("branches.m0"))


def test_each_has_a_window_of_its_own(splits: Splits) -> None:
    batch, found = first_batch(splits), {}
    for closed in (None, "m0", "m1"):
        trainer = begun(splits, InfoReg())
        with torch.no_grad():
            for weight in trainer.model.parameters():
                weight.add_(0.01)
        if closed:
            trainer.memory["open"][list(trainer.model.branches).index(closed)] = False
        found[closed] = gradients(trainer, batch)
    held = [name for name in ("m0", "m1") if not same(found[None], found[name], name)]
    assert held, "one of the two leads"
    plain = begun(splits, InfoReg(strength=0))
    with torch.no_grad():
        for weight in plain.model.parameters():
            weight.add_(0.01)
    expected = gradients(plain, batch)
    for name in held:
        assert same(found[name], expected, name)
        other = "m1" if name == "m0" else "m0"
        assert same(found[other], found[None], name)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], modality: str) -> bool:
    """Whether the gradients of an encoder are the same to the last bit."""
    names = [name for name in one if name.startswith(f"branches.{modality}.encoder.")]
    return all(torch.equal(one[name], other[name]) for name in names)
