"""The sampler in a training loop: with workers, resumed, on several ranks, and given what does not fit."""

import copy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Dataset

from bss.curriculum.order import within_class
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import SCHEDULERS, epoch_indices
from bss.measure.evidence import Evidence
from bss.measure.score import balance_score
from tests.helpers.forked import run_ranks

N = 50


class Numbers(Dataset[int]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> int:
        return index


def logits(seed: int = 0, num_samples: int = N) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 2 * torch.randn(num_samples, 3, generator=generator) for name in ("a", "v", "fused")}


LABELS = torch.arange(N) % 3
SCORES = np.random.default_rng(3).uniform(-1, 1, N)


def rows(of_all: dict[str, Tensor], indices: Any) -> dict[str, Tensor]:
    return {name: values[indices] for name, values in of_all.items()}


def same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, Tensor):
        return torch.equal(torch.nan_to_num(first, nan=-9.0), torch.nan_to_num(second, nan=-9.0))
    return bool(first == second)


@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_sees_the_sequence_of_each_epoch(name: str, workers: int) -> None:
    scheduler = SCHEDULERS.example(name)
    sampler = CurriculumSampler(N, scheduler, seed=4, scores=SCORES)
    loader = DataLoader(
        Numbers(), batch_size=8, sampler=sampler, num_workers=workers, persistent_workers=workers > 0,
        prefetch_factor=3 if workers else None,
    )  # fmt: skip
    for epoch in range(3):
        expected = epoch_indices(scheduler, sampler.scores, 4, epoch)
        seen = torch.cat(list(loader)).tolist()
        assert seen == expected.tolist()
        assert len(sampler) == len(expected)
        sampler.observe(np.arange(N), logits(epoch), LABELS)
        if sampler.wants_held_out:
            sampler.observe_held_out(logits(epoch + 9), LABELS)
        sampler.end_epoch()


def test_a_clean_pass_gives_the_published_score_and_the_moving_average() -> None:
    sampler = CurriculumSampler(N, Learned(beta=0.6), scores=SCORES)
    sampler.observe(np.arange(N), logits(), LABELS)
    sampler.end_epoch()
    fresh = balance_score(Evidence(logits(), LABELS)).numpy()
    assert np.allclose(sampler.scores, 0.4 * SCORES + 0.6 * fresh)


def test_a_first_score_is_taken_whole_and_a_later_one_averaged() -> None:
    sampler = CurriculumSampler(N, Learned(beta=0.6))
    early = np.arange(30)
    sampler.observe(early, rows(logits(0), early), LABELS[:30])
    sampler.end_epoch()
    first = balance_score(Evidence(rows(logits(0), early), LABELS[:30])).numpy()
    assert np.allclose(sampler.scores[:30], first)
    assert not sampler.scores[30:].any(), "nothing is known of them"
    resumed = CurriculumSampler(N, Learned(beta=0.6))
    resumed.load_state_dict(sampler.state_dict())
    for one in (sampler, resumed):
        one.observe(np.arange(N), logits(1), LABELS)
        one.end_epoch()
        second = balance_score(Evidence(logits(1), LABELS)).numpy()
        assert np.allclose(one.scores[:30], 0.4 * first + 0.6 * second[:30])
        assert np.allclose(one.scores[30:], second[30:])


def test_samples_seen_in_batches_count_as_those_seen_at_once() -> None:
    at_once, in_batches = (CurriculumSampler(N, Learned(), scores=SCORES) for _ in range(2))
    at_once.observe(np.arange(N), logits(), LABELS)
    for part in torch.randperm(N, generator=torch.Generator().manual_seed(0)).split(7):
        in_batches.observe(part, rows(logits(), part), LABELS[part])
    for sampler in (at_once, in_batches):
        sampler.end_epoch()
    assert np.allclose(at_once.scores, in_batches.scores)


def test_a_sample_not_seen_keeps_its_last_value() -> None:
    sampler = CurriculumSampler(N, Learned(beta=1.0), scores=SCORES)
    first, second = np.arange(30), np.arange(20)
    sampler.observe(first, rows(logits(0), first), LABELS[first])
    sampler.end_epoch()
    assert np.array_equal(sampler.scores[30:], SCORES[30:])
    sampler.observe(second, rows(logits(1), second), LABELS[second])
    sampler.end_epoch()
    last = {name: torch.cat([logits(1)[name][:20], logits(0)[name][20:30]]) for name in logits()}
    assert np.allclose(sampler.scores[:30], balance_score(Evidence(last, LABELS[:30])).numpy())


def test_evidence_between_measurements_is_used_at_the_next_one() -> None:
    sampler = CurriculumSampler(N, Learned(beta=1.0, refresh_every=2), scores=SCORES)
    assert not sampler.wants_pass
    sampler.observe(np.arange(N), logits(), LABELS)
    sampler.end_epoch()
    assert np.array_equal(sampler.scores, SCORES)
    assert sampler.wants_pass
    sampler.end_epoch()
    assert np.allclose(sampler.scores, balance_score(Evidence(logits(), LABELS)).numpy())


def test_a_scheduler_that_measures_says_when_nothing_was_observed() -> None:
    sampler = CurriculumSampler(N, Learned())
    with pytest.raises(ValueError, match="'learned' wants fresh scores after epoch 0, and nothing was observed"):
        sampler.end_epoch()
    CurriculumSampler(N, Heuristic(), scores=SCORES).end_epoch()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_cut_in_mid_epoch_goes_on_with_the_next_sample(workers: int) -> None:
    def loader(sampler: CurriculumSampler) -> DataLoader[Any]:
        return DataLoader(Numbers(), batch_size=8, sampler=sampler, num_workers=workers)

    def one() -> CurriculumSampler:
        return CurriculumSampler(N, Learned(), seed=9, scores=SCORES)

    whole, cut = one(), one()
    for sampler in (whole, cut):
        sampler.observe(np.arange(N), logits(), LABELS)
        sampler.end_epoch()
    expected = torch.cat(list(loader(whole))).tolist()
    seen: list[int] = []
    for number, batch in enumerate(loader(cut)):
        seen += batch.tolist()
        cut.advance(len(batch))
        cut.observe(batch, rows(logits(1), batch), LABELS[batch])
        whole.observe(batch, rows(logits(1), batch), LABELS[batch])
        if number == 2:
            break
    resumed = one()
    resumed.load_state_dict(copy.deepcopy(cut.state_dict()))
    rest = torch.cat(list(loader(resumed))).tolist()
    assert seen + rest == expected
    for sampler in (whole, resumed):
        sampler.end_epoch()
    assert same(whole.state_dict(), resumed.state_dict())
    assert whole.sequence().tolist() == resumed.sequence().tolist()


def test_a_state_survives_torch_save(tmp_path: Path) -> None:
    sampler = CurriculumSampler(N, Learned(), scores=SCORES)
    sampler.advance(3)
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    resumed = CurriculumSampler(N, Learned())
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert same(resumed.state_dict(), sampler.state_dict())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (CurriculumSampler(N + 1, Learned()), "its num_samples is 51, not 50"),
        (CurriculumSampler(N, Random()), "its scheduler is random anti=False .*, not learned"),
        (CurriculumSampler(N, Learned(beta=0.5)), "its scheduler is learned .*beta=0.5"),
        (CurriculumSampler(N, Learned(), seed=1), "its seed is 1, not 0"),
        (CurriculumSampler(N, Learned(criteria=("entropy",))), r"its scheduler is learned .*criteria=\('entropy',\)"),
        (CurriculumSampler(N, Learned(), recorded=np.arange), "its is_recorded is True, not False"),
        (CurriculumSampler(N, Learned(), num_replicas=2), "its num_replicas is 2, not 1"),
    ],
)
def test_a_state_of_another_plan_is_refused_and_nothing_changes(other: CurriculumSampler, message: str) -> None:
    sampler = CurriculumSampler(N, Learned(), scores=SCORES)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=f"the state is of another plan: {message}"):
        sampler.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="the state has version 0, expected 3"):
        sampler.load_state_dict(before | {"version": 0})
    assert same(sampler.state_dict(), before)


NAN = torch.full((2, 3), float("nan"))


@pytest.mark.parametrize(
    ("indices", "given", "labels", "message"),
    [
        ([0], rows(logits(), [0, 1]), LABELS[:2], r"indices are \[0\], expected 2 in \[0, 50\)"),
        ([0, N], rows(logits(), [0, 1]), LABELS[:2], r"expected 2 in \[0, 50\)"),
        ([0, -1], rows(logits(), [0, 1]), LABELS[:2], r"expected 2 in \[0, 50\)"),
        ([0, 1], rows(logits(), [0, 1]) | {"v": NAN}, LABELS[:2], "logits of 'v' are not finite"),
        ([0, 1], {"a": NAN, "fused": NAN}, LABELS[:2], "at least two modalities"),
        ([0, 1], rows(logits(), [0, 1]), torch.tensor([0, 3]), r"labels lie in \[0, 3\]"),
        ([0, 1], rows(logits(), [0, 1]) | {"a": logits()["a"]}, LABELS[:2], "logits of 'a' have the shape"),
        (torch.arange(2) + 0.7, rows(logits(), [0, 1]), LABELS[:2], r"indices are float32 of the shape \(2,\)"),
        ([0.0, 1.0], rows(logits(), [0, 1]), LABELS[:2], "indices are float64"),
        ([True, False], rows(logits(), [0, 1]), LABELS[:2], "indices are bool"),
        (["0", "1"], rows(logits(), [0, 1]), LABELS[:2], r"indices are \['0', '1'\], expected whole numbers"),
        ([[0], [1]], rows(logits(), [0, 1]), LABELS[:2], r"of the shape \(2, 1\).*leave the second dimension out"),
        ([0, 1], rows(logits(), [0, 1]), LABELS[:2].float(), "labels are float32"),
        ([0, 1], rows(logits(), [0, 1]), LABELS[:2, None], r"labels are int64 of the shape \(2, 1\)"),
        ([0, 1], rows(logits(), [0, 1]), torch.eye(3)[:2].long(), r"from one-hot rows: values.argmax\(dim=1\)"),
        ([0, 1], rows(logits(), [0, 1]), None, "labels are None, expected whole numbers"),
        ([0, 1], rows(logits(), [0, 1]) | {"v": [[0.0] * 3] * 2}, LABELS[:2], "logits of 'v' are a list"),
        ([0, 1], rows(logits(), [0, 1]) | {"v": torch.ones(2, 3).long()}, LABELS[:2], "are int64, expected floating"),
        ([0, 1], rows(logits(), [0, 1]) | {"fused": torch.tensor(1.0)}, LABELS[:2], r"expected \(N, C\)"),
    ],
)
def test_evidence_that_does_not_fit_is_refused_and_nothing_changes(
    indices: list[int], given: dict[str, Tensor], labels: Tensor, message: str
) -> None:
    sampler = CurriculumSampler(N, Learned(), scores=SCORES)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=message):
        sampler.observe(indices, given, labels)
    assert same(sampler.state_dict(), before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0"),
        ({"scores": SCORES[:-1]}, r"scores have the shape \(49,\), expected \(50,\)"),
        ({"scores": np.full(N, np.inf)}, "scores are not finite, first at index 0"),
        ({"rank": 2, "num_replicas": 2}, r"rank is 2, expected a whole number in \[0, 2\)"),
        ({"num_samples": 50.0}, "num_samples is 50.0, expected a whole number, at least 1"),
        ({"num_samples": True}, "num_samples is True"),
        ({"num_samples": "50"}, "num_samples is '50'"),
        ({"num_samples": torch.tensor([1, 2])}, "num_samples is tensor"),
        ({"seed": None}, "seed is None, expected a whole number, at least 0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"rank": 0.0}, r"rank is 0.0, expected a whole number in \[0, 1\)"),
        ({"num_replicas": 0}, "num_replicas is 0"),
        ({"scheduler": "random"}, r"scheduler is 'random', expected one such as bss.Random\(\)"),
        ({"scores": ["1"] * N}, "scores are .*expected real numbers"),
        ({"scores": [None] * N}, "scores are .*expected real numbers"),
        ({"scores": np.full(N, 1j)}, "scores are complex128"),
        ({"scores": SCORES[:, None]}, r"scores have the shape \(50, 1\), expected \(50,\)"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CurriculumSampler(**{"num_samples": N, "scheduler": Random(), **arguments})


@pytest.mark.parametrize("number", [np.int64, np.uint8, torch.tensor], ids=["int64", "uint8", "tensor"])
def test_whole_numbers_of_any_type_make_the_same_plan(number: Any, tmp_path: Path) -> None:
    sampler = CurriculumSampler(number(N), Random(), number(3), rank=number(1), num_replicas=number(2))
    sampler.advance(number(2))
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    plain = CurriculumSampler(N, Random(), 3, rank=1, num_replicas=2)
    plain.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert list(plain) == list(sampler)


@pytest.mark.parametrize(
    "scores",
    [torch.from_numpy(SCORES), SCORES.tolist(), SCORES.astype(">f8"), torch.from_numpy(SCORES).requires_grad_()],
    ids=["tensor", "list", "big-endian", "with gradient"],
)
def test_scores_of_any_real_type_are_the_same(scores: Any) -> None:
    assert CurriculumSampler(N, Random(), scores=scores).scores.tolist() == SCORES.tolist()


@pytest.mark.parametrize(
    ("part", "value"),
    [("scores", torch.zeros(N - 1)), ("criteria", torch.zeros(1, N)), ("num_draws", None), ("num_measured", "yes")],
)
def test_a_damaged_state_is_refused_and_nothing_changes(part: str, value: Any) -> None:
    sampler = CurriculumSampler(N, Learned(), scores=SCORES)
    before = sampler.state_dict()
    with pytest.raises(ValueError, match=f"the state's {part} has the shape .*, expected"):
        sampler.load_state_dict(before | {"epoch": 4, part: value})
    assert same(sampler.state_dict(), before)


def test_the_iterator_keeps_its_own_place_for_loaders_that_save_it() -> None:
    """As StatefulDataLoader of torchdata: both states as of the last batch; both loaded, the sampler first."""
    sampler = CurriculumSampler(N, Learned(), seed=9, scores=SCORES)
    iterator: Any = iter(sampler)
    seen = [next(iterator) for _ in range(24)]
    states = copy.deepcopy((sampler.state_dict(), iterator.state_dict()))
    resumed = CurriculumSampler(N, Learned(), seed=9)
    resumed.load_state_dict(states[0])
    rest: Any = iter(resumed)
    rest.load_state_dict(states[1])
    assert seen + list(rest) == sampler.sequence().tolist()
    resumed.advance(N - 24)
    with pytest.raises(ValueError, match="1 samples after 50 leave"):
        resumed.advance(1)


def test_more_samples_than_the_epoch_has_are_refused() -> None:
    sampler = CurriculumSampler(N, Random())
    sampler.advance(49)
    with pytest.raises(ValueError, match="2 samples after 49 leave the 50 of this epoch"):
        sampler.advance(2)


@pytest.mark.parametrize("num_replicas", [2, 4])
def test_ranks_share_one_global_sequence(num_replicas: int) -> None:
    one = CurriculumSampler(N, Random(), seed=2)
    shares = [
        list(CurriculumSampler(N, Random(), 2, rank=rank, num_replicas=num_replicas)) for rank in range(num_replicas)
    ]
    assert len({len(share) for share in shares}) == 1
    batch = 5
    for step in range(N // (batch * num_replicas)):
        together = {index for share in shares for index in share[step * batch : (step + 1) * batch]}
        assert together == set(
            one.sequence()[step * batch * num_replicas : (step + 1) * batch * num_replicas].tolist()
        )
    assert {index for share in shares for index in share} == set(range(N))


def work(rank: int, port: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    sampler = CurriculumSampler(N, Learned(), seed=1, scores=SCORES, rank=rank, num_replicas=2)
    for epoch in range(3):
        mine = list(sampler)
        sampler.observe(mine, rows(logits(epoch), mine), LABELS[mine])
        sampler.end_epoch()
    torch.save(sampler.state_dict(), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


def test_scores_are_normalised_over_all_ranks(tmp_path: Path, forkservers: Path) -> None:
    run_ranks("tests.curriculum.test_sampler", tmp_path, forkservers)
    one = CurriculumSampler(N, Learned(), seed=1, scores=SCORES)
    for epoch in range(3):
        seen = np.unique(one.sequence())
        one.observe(seen, rows(logits(epoch), seen), LABELS[seen])
        one.end_epoch()
    states = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert same(states[0], states[1])
    assert same(states[0] | {"plan": None}, one.state_dict() | {"plan": None})


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])


def test_by_class_follows_the_place_in_the_class_and_keeps_the_scores_as_they_are() -> None:
    scheduler = Learned(by_class=True)
    sampler = CurriculumSampler(N, scheduler, seed=4, scores=SCORES, labels=LABELS)
    assert np.array_equal(sampler.sequence(), epoch_indices(Learned(), within_class(SCORES, LABELS.numpy()), 4, 0))
    sampler.observe(range(N), logits(), LABELS)
    sampler.end_epoch()
    raw = CurriculumSampler(N, Learned(), seed=4, scores=SCORES)
    raw.observe(range(N), logits(), LABELS)
    raw.end_epoch()
    assert np.array_equal(sampler.scores, raw.scores)
    with pytest.raises(ValueError, match="by_class: give labels"):
        CurriculumSampler(N, scheduler)
    with pytest.raises(ValueError, match=r"labels have the shape \(3,\), expected \(50,\)"):
        CurriculumSampler(N, scheduler, labels=[0, 1, 2])
