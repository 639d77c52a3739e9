"""AllRanks that hold their own samples alone: draws, scores and states over two processes, and by slow references."""

import copy
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from scipy.stats import chi2_contingency, chisquare
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from bss.curriculum.order import is_in_play, ordered, softmax, systematic_counts
from bss.curriculum.sampler import CurriculumSampler
from bss.curriculum.schedulers.heuristic import Heuristic
from bss.curriculum.schedulers.learned import Learned
from bss.curriculum.schedulers.random import Random
from bss.curriculum.schedulers.scheduler import SCHEDULERS, Scheduler
from bss.curriculum.schedulers.self_paced import SelfPaced
from bss.curriculum.shares import Shares, blocks, dealt
from bss.measure.evidence import Evidence, collect
from bss.measure.ranks import AllRanks
from bss.measure.score import balance_score, score_table
from bss.model import Outputs
from bss.seeds import generator
from tests.helpers.forked import run_ranks

pytestmark = pytest.mark.xdist_group("ranks")  # one start of the processes for all

N, EPOCHS = 41, 200
# Rank 0 of 2 has the balanced samples: shares of 4 to 1, so that many draws are handed over. Some scores are equal.
SCORES = np.round(np.random.default_rng(3).uniform(-1, 1, N) * 8) / 16 + np.where(np.arange(N) % 2, -0.5, 0.5)
LABELS = torch.arange(N) % 3
EXACT: dict[str, Scheduler] = {
    "random": Random(),
    "heuristic": Heuristic(grow_epochs=4, min_in_play=5),
    "heuristic-anti": Heuristic(grow_epochs=4, min_in_play=5, anti=True),
    "heuristic-full": Heuristic(grow_epochs=4, min_in_play=5, epoch_length="full"),
    "self_paced": SelfPaced(grow_epochs=4, min_in_play=5),
    "self_paced-anti": SelfPaced(grow_epochs=4, min_in_play=5, anti=True),
    "released": Learned(variant="released"),
}
DRAWS: dict[str, Learned] = {
    "multinomial": Learned(score_update="online"),
    "multinomial-anti": Learned(score_update="online", anti=True, temperature=0.5),
    "systematic": Learned(score_update="online", draw="systematic"),
}


def logits(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: 2 * torch.randn(N, 3, generator=random) for name in ("a", "v", "fused")}


def rows(of_all: dict[str, Tensor], indices: Any) -> dict[str, Tensor]:
    return {name: values[indices] for name, values in of_all.items()}


def evidence(indices: Any = slice(None)) -> Evidence:
    return Evidence(rows(logits(), indices), LABELS[indices])


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    assert first.keys() == second.keys()
    equal = {
        name: np.array_equal(value, second[name], equal_nan=value.is_floating_point())
        if isinstance(value, Tensor)
        else value == second[name]
        for name, value in first.items()
    }
    return all(equal.values())


# Two processes over gloo


def local(scheduler: Scheduler, rank: int, scores: np.ndarray | None = SCORES, seed: int = 1) -> CurriculumSampler:
    own = None if scores is None else scores[rank::2]
    return CurriculumSampler(N, scheduler, seed, scores=own, rank=rank, num_replicas=2, shard="local")


def drawn(scheduler: Scheduler, rank: int, num_epochs: int) -> dict[str, Any]:
    """Sequences of a sampler whose scores stay as they are."""
    sampler = local(scheduler, rank)
    sequences = []
    for epoch in range(num_epochs):
        sampler.epoch, sampler._sequence = epoch, None
        sequences.append(list(sampler))
        assert len(sampler) == len(sequences[-1])
    return {"sequences": sequences, "num_draws": sampler.num_draws.tolist()}


def trained(rank: int, folder: Path) -> dict[str, Any]:
    """Three epochs, of which the second is cut, saved and resumed on the way."""
    sampler = local(Learned(score_update="online"), rank, scores=None)
    sequences, scores = [], []
    for epoch in range(3):
        sequences.append(list(sampler))
        for number, batch in enumerate(np.array_split(sequences[-1], 4)):
            sampler.observe(batch, rows(logits(epoch), batch), LABELS[batch])
            sampler.advance(len(batch))
            if epoch == 1 and number == 1:
                sampler = resumed(sampler, rank, folder, sequences[-1])
        sampler.end_epoch()
        scores.append(sampler.scores.tolist())
    return {"sequences": sequences, "scores": scores, "num_draws": sampler.num_draws.tolist()}


def resumed(sampler: CurriculumSampler, rank: int, folder: Path, sequence: list[int]) -> CurriculumSampler:
    torch.save(sampler.state_dict(), folder / f"sampler-{rank}.pt")
    another = local(Learned(score_update="online"), rank, scores=None)
    another.load_state_dict(torch.load(folder / f"sampler-{rank}.pt", weights_only=True))
    assert list(another) == list(sampler) == sequence[sampler._position :]
    assert same(another.state_dict(), sampler.state_dict())
    return another


def refused(rank: int) -> list[str]:
    """What two ranks refuse together, without waiting for each other."""
    plan: dict[str, Any] = {"num_samples": N, "scheduler": Learned(), "rank": rank, "num_replicas": 2}
    state = local(Learned(), rank, seed=0).state_dict()
    state["plan"]["rank"] = 1 - rank
    tries: list[Callable[[], object]] = [
        lambda: CurriculumSampler(**plan | {"rank": 1 - rank}, shard="local"),
        lambda: CurriculumSampler(**plan | {"rank": 0, "num_replicas": 1}, shard="local"),
        lambda: CurriculumSampler(**plan | {"num_samples": 1}, shard="local"),
        lambda: CurriculumSampler(**plan, scores=SCORES, shard="local"),
        lambda: local(Learned(), rank, seed=0).load_state_dict(state),
        lambda: CurriculumSampler(**plan).load_state_dict(state),
        lambda: local(Learned(), rank).end_epoch(),
    ]
    messages = []
    for one in tries:
        with pytest.raises(ValueError) as caught:
            one()
        messages.append(str(caught.value))
    return messages


class Warm(nn.Module):
    """A model after its warm-up, whose outputs are known."""

    def forward(self, inputs: Tensor) -> Outputs:
        return Outputs(rows(logits(), inputs), {})


def batches_of(own: range) -> Iterator[tuple[Tensor, Tensor]]:
    loader: DataLoader[int] = DataLoader(own, batch_size=4)
    return ((indices, LABELS[indices]) for indices in loader)


def work(rank: int, port: int, folder: str) -> None:
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    own = AllRanks.of_group().rows(N)
    found = {
        "refused": refused(rank),
        **{name: drawn(scheduler, rank, 6) for name, scheduler in EXACT.items()},
        **{name: drawn(scheduler, rank, EPOCHS) for name, scheduler in DRAWS.items()},
        "trained": trained(rank, Path(folder)),
        "scores": balance_score(evidence(own), shard="local").tolist(),
        "streamed": balance_score((evidence(list(own[k : k + 4])) for k in range(0, len(own), 4)), shard="local"),
        "collected": balance_score((collect(Warm(), [batch]) for batch in batches_of(own)), shard="local"),
        "table": score_table(evidence(own), others=["entropy"], shard="local").to_dict(as_series=False),
    }
    torch.save(found, Path(folder) / f"found-{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, forkservers: Path) -> list[dict[str, Any]]:
    """What each of two ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks("tests.curriculum.test_shard", folder, forkservers)
    return [torch.load(folder / f"found-{rank}.pt", weights_only=True) for rank in range(2)]


def interleaved(parts: list[Any]) -> np.ndarray:
    result = np.empty(N)
    for rank, part in enumerate(parts):
        result[rank::2] = part
    return result


@pytest.mark.parametrize("name", DRAWS)
def test_two_ranks_draw_what_one_draws(found: list[dict[str, Any]], name: str) -> None:
    scheduler = DRAWS[name]
    counts = interleaved([each[name]["num_draws"] for each in found])
    one = [scheduler.indices(SCORES, epoch, generator(8, "one", epoch)) for epoch in range(EPOCHS)]
    by_one = np.bincount(np.concatenate(one), minlength=N)
    assert counts.sum() == by_one.sum() == N * EPOCHS
    assert chisquare(counts, scheduler.probabilities(SCORES) * N * EPOCHS).pvalue > 0.01
    assert chi2_contingency([counts, by_one]).pvalue > 0.01


@pytest.mark.parametrize("name", DRAWS)
def test_what_a_rank_draws_too_much_is_trained_on_by_the_other(found: list[dict[str, Any]], name: str) -> None:
    both = [each[name]["sequences"] for each in found]
    padding = 0
    for first, second in zip(*both, strict=True):
        assert len(first) == len(second) == (N + 1) // 2
        padding += 1
    trained_on = np.bincount(np.concatenate([np.concatenate(sequences) for sequences in both]), minlength=N)
    counts = interleaved([each[name]["num_draws"] for each in found])
    assert trained_on.sum() == counts.sum() + padding, "one sample comes again, as 41 draws are for two ranks"
    assert (trained_on >= counts).all()


def test_the_number_of_draws_of_a_share_varies_as_independent_draws_do(found: list[dict[str, Any]]) -> None:
    on_even = [
        sum(index % 2 == 0 for each in found for index in each["multinomial"]["sequences"][epoch])
        for epoch in range(EPOCHS)
    ]
    part = softmax(SCORES)[::2].sum()
    expected = N * part * (1 - part)
    assert abs(np.var(on_even) / expected - 1) < 0.25
    of_systematic = [
        sum(index % 2 == 0 for each in found for index in each["systematic"]["sequences"][epoch])
        for epoch in range(EPOCHS)
    ]
    assert max(of_systematic) - min(of_systematic) <= 2, "floor or ceil, and one that comes again"


def test_a_sample_of_systematic_draws_comes_as_often_as_expected(found: list[dict[str, Any]]) -> None:
    probabilities = softmax(SCORES)
    bound = 1 + 2 * probabilities / min(probabilities[::2].sum(), probabilities[1::2].sum())
    for sequences in zip(*(each["systematic"]["sequences"] for each in found), strict=True):
        counts = np.bincount(np.concatenate(sequences), minlength=N)
        assert (counts < N * probabilities + bound + 1).all()
        assert (counts > N * probabilities - bound).all()


@pytest.mark.parametrize("name", EXACT)
def test_two_ranks_play_what_one_plays(found: list[dict[str, Any]], name: str) -> None:
    for epoch, shares in enumerate(zip(*(each[name]["sequences"] for each in found), strict=True)):
        seen, expected = Counter([*shares[0], *shares[1]]), Counter(
            EXACT[name].indices(SCORES, epoch, generator(0, "one")).tolist()
        )  # fmt: skip
        assert len(shares[0]) == len(shares[1]) == -(-expected.total() // 2)
        assert seen.keys() == expected.keys()
        if name == "heuristic-full":
            assert all(abs(seen[index] - expected[index]) <= 2 for index in seen)
        else:
            assert (seen - expected).total() == expected.total() % 2, "one comes again where they are odd"


def test_scores_are_those_of_one_process_that_saw_the_same(found: list[dict[str, Any]]) -> None:
    one = CurriculumSampler(N, Learned(score_update="online"))
    for epoch in range(3):
        seen = np.unique(np.concatenate([each["trained"]["sequences"][epoch] for each in found]))
        one.observe(seen, rows(logits(epoch), seen), LABELS[seen])
        one.end_epoch()
        assert np.allclose(one.scores, interleaved([each["trained"]["scores"][epoch] for each in found]), atol=1e-6)
    assert interleaved([each["trained"]["num_draws"] for each in found]).sum() == 3 * N, "the cut epoch counts once"


def test_the_score_of_own_evidence_is_normalised_over_all_ranks(found: list[dict[str, Any]]) -> None:
    expected = balance_score(evidence()).numpy()
    table = score_table(evidence(), others=["entropy"])
    assert np.array_equal(interleaved([each["scores"] for each in found]), expected)
    for name in ("streamed", "collected"):
        assert np.allclose(interleaved([each[name] for each in found]), expected, atol=1e-6)
    assert table.columns == list(found[0]["table"])
    for name in table.columns:
        assert np.array_equal(interleaved([each["table"][name] for each in found]), table[name].to_numpy()), name


def test_ranks_that_do_not_fit_are_refused(found: list[dict[str, Any]]) -> None:
    for rank, messages in enumerate(each["refused"] for each in found):
        other = 1 - rank
        assert messages == [
            f"rank {other} of num_replicas 2 is rank {rank} of 2 in torch.distributed, expected the same",
            f"rank 0 of num_replicas 1 is rank {rank} of 2 in torch.distributed, expected the same",
            "num_samples is 1, expected one for each of 2 ranks",
            f"scores have the shape (41,), expected ({21 - rank},)",
            f"the state is of another plan: its rank is {other}, not {rank}",
            "the state is of another plan: its shard is local, not None",
            "the scheduler 'learned' wants fresh scores after epoch 0, and nothing was observed; "
            "call `observe` with the model's logits before `end_epoch`",
        ]


# Any number of ranks, as threads


@dataclass
class Meeting:
    """Where the threads of a test meet, one a rank."""

    number: int
    values: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.number, timeout=20)

    def of_all(self, rank: int, value: Any) -> list[Any]:
        self.values[rank] = copy.deepcopy(value)
        self.barrier.wait()
        result = [self.values[other] for other in range(self.number)]
        self.barrier.wait()
        return result

    def run(self, one: Callable[[AllRanks], Any]) -> list[Any]:
        with ThreadPoolExecutor(self.number) as pool:
            return list(pool.map(one, [Threads(rank, self.number, self) for rank in range(self.number)]))


@dataclass(frozen=True)
class Threads(AllRanks):
    meeting: Meeting = field(default_factory=lambda: Meeting(1))

    def each(self, values: ArrayLike) -> np.ndarray:
        return np.array(self.meeting.of_all(self.rank, np.asarray(values, dtype=np.float64)))

    def exchange(self, parts: Any) -> np.ndarray:
        return np.concatenate([given[self.rank] for given in self.meeting.of_all(self.rank, parts)])


@pytest.mark.parametrize("lengths", [[5, 5, 5], [12, 0, 3], [0, 1, 0, 0], [7, 7, 1, 2], [100, 1, 99, 3, 0]])
def test_dealing_makes_ranks_alike_and_loses_nothing(lengths: list[int]) -> None:
    bounds = np.cumsum([0, *lengths])
    results = Meeting(len(lengths)).run(
        lambda ranks: dealt(np.arange(bounds[ranks.rank], bounds[ranks.rank + 1]), ranks)
    )
    length = -(-sum(lengths) // len(lengths))
    assert [len(result) for result in results] == [length] * len(lengths)
    together = np.concatenate(results)
    assert set(together.tolist()) == set(range(sum(lengths)))
    for result, start, number in zip(results, bounds, lengths, strict=False):
        kept = result[(result >= start) & (result < start + number)]
        assert (np.diff(kept) > 0).all() or len(together) > sum(lengths), "they keep their order"
        assert len(kept) >= min(number, length)


@pytest.mark.parametrize("anti", [False, True])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_cut_over_ranks_is_that_of_the_ranking(number: int, anti: bool) -> None:
    random = np.random.default_rng(number)
    steps, zeros, wide = random.integers(-2, 3, 60) / 4, np.array([0.0, -0.0] * 30), random.uniform(-1e30, 1e30, 60)
    for scores, num_in_play in product(np.array([steps, zeros, wide], np.float32), (1, 7, 30, 59, 60)):
        find = lambda of_all, num, ranks: is_in_play(of_all[ranks.rank :: number], num, ranks, anti=anti)  # noqa: E731
        chosen = np.empty(60, dtype=bool)
        for rank, part in enumerate(Meeting(number).run(partial(find, scores, num_in_play))):
            chosen[rank::number] = part
        assert set(np.flatnonzero(chosen)) == set(ordered(scores, anti=anti)[:num_in_play])


@pytest.mark.parametrize("draw", ["multinomial", "systematic"])
def test_draws_from_blocks_are_those_of_the_slow_reference(draw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bss.curriculum.shares.BLOCK", 7)
    size, num_epochs, number = 60, 200, 4
    scores = np.random.default_rng(0).uniform(-1, 1, size) + np.arange(size) % number
    probabilities = np.exp(scores) / np.exp(scores).sum()

    def one(ranks: AllRanks) -> np.ndarray:
        own, counts = scores[ranks.rank :: number].astype(np.float32), np.zeros(size // number)
        for epoch in range(num_epochs):
            shares = Shares(ranks, size, np.random.default_rng(epoch), np.random.default_rng((ranks.rank, epoch)))
            counts += np.bincount(Learned(draw=draw).share(own, epoch, shares), minlength=size // number)
        return counts

    counts = np.stack(Meeting(number).run(one), axis=1).ravel()
    by_one = np.zeros(size)
    for epoch in range(num_epochs):
        by_one += np.bincount(np.random.default_rng(epoch).choice(size, size, p=probabilities), minlength=size)
    assert counts.sum() == size * num_epochs
    assert chisquare(counts, probabilities * size * num_epochs).pvalue > 0.01
    assert chi2_contingency([counts, by_one]).pvalue > 0.01


def test_weights_too_small_for_their_type_are_never_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bss.curriculum.shares.BLOCK", 5)
    scores = np.where(np.arange(40) == 3, 1.0, -1.0)
    for draw in ("multinomial", "systematic"):

        def one(ranks: AllRanks, draw: str = draw) -> np.ndarray:
            shares = Shares(ranks, 40, np.random.default_rng(0), np.random.default_rng(1))
            own = scores[ranks.rank :: 2].astype(np.float32)
            return Learned(draw=draw, temperature=0.001).share(own, 0, shares)

        first, second = Meeting(2).run(one)
        assert first.tolist() == []
        assert second.tolist() == [1] * 40


def test_systematic_counts_are_floor_or_ceil() -> None:
    weights = np.array([0.0, 0.3, 1e-9, 0.2, 0.5, 0.0])
    probabilities, random = weights / weights.sum(), np.random.default_rng(0)
    counts = np.array([systematic_counts(weights, 7, random) for _ in range(4000)])
    assert (counts.sum(axis=1) == 7).all()
    assert (abs(counts - 7 * probabilities) < 1).all()
    assert np.allclose(counts.mean(axis=0), 7 * probabilities, atol=0.03)
    assert not counts[:, [0, 5]].any()


@pytest.mark.parametrize("number", [1, 2**16, 2**16 + 1, 10**6])
def test_blocks_cover_all_and_are_alike(number: int) -> None:
    parts = list(blocks(number))
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    sizes = [part.stop - part.start for part in parts]
    assert sum(sizes) == number
    assert max(sizes) <= 2**16
    assert max(sizes) - min(sizes) <= 1


# One rank, without a process group


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if SCHEDULERS.example(name).has_share])
def test_a_share_is_a_pure_function_of_scores_and_epoch(name: str) -> None:
    scheduler, own = SCHEDULERS.example(name), SCORES.astype(np.float32)
    first, second = (
        scheduler.share(own, 2, Shares(AllRanks(), N, np.random.default_rng(0), np.random.default_rng(1)))
        for _ in range(2)
    )
    assert np.array_equal(first, second)
    assert first.dtype.kind == "i"
    assert len(first) == len(scheduler.indices(own, 2, np.random.default_rng(0)))
    assert 0 <= first.min() <= first.max() < N
    assert np.array_equal(own, SCORES.astype(np.float32))


def test_one_rank_has_the_scores_of_all_samples() -> None:
    alone, usual = (
        CurriculumSampler(N, Learned(criteria=("entropy", "training_loss", "prediction_similarity")), shard=shard)
        for shard in ("local", None)
    )
    early = np.arange(30)
    for epoch, seen in enumerate((early, np.arange(N), early)):
        for sampler in (alone, usual):
            sampler.observe(seen, rows(logits(epoch), seen), LABELS[seen])
            sampler.end_epoch()
        assert np.allclose(alone.scores, usual.scores, atol=1e-6)
    assert alone.rows == usual.rows == range(N)


def test_golden_draws_of_one_rank() -> None:
    sampler = CurriculumSampler(12, Learned(), seed=5, scores=SCORES[:12], shard="local")
    assert list(sampler) == [0, 2, 6, 10, 0, 0, 2, 4, 2, 10, 8, 4]
    assert sampler.sequence().dtype == np.int32
    sampler.observe(np.arange(12), rows(logits(), slice(12)), LABELS[:12])
    sampler.end_epoch()
    assert list(sampler) == [11, 4, 11, 2, 8, 4, 2, 2, 0, 0, 2, 0]
    assert sampler.scores[:4].round(4).tolist() == np.float32([0.0261, -0.5074, 0.6467, -0.6783]).tolist()


def test_a_rank_takes_few_bytes_a_sample() -> None:
    sampler = CurriculumSampler(1000, Learned(), shard="local")
    sampler.sequence()
    held = [sampler.sequence(), sampler._samples.scores, sampler._samples.criteria, sampler._samples.num_measured]
    assert sum(array.nbytes for array in [*held, sampler._samples.num_draws]) == 21 * 1000


class Custom(Scheduler):
    def indices(self, scores: np.ndarray, epoch: int, generator: np.random.Generator) -> np.ndarray:
        return np.arange(len(scores))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shard": "locally"}, "shard is 'locally', expected 'local' or None"),
        ({"recorded": np.arange}, "recorded sequences are of all samples"),
        ({"scores": SCORES[:-1]}, r"scores have the shape \(40,\), expected \(41,\)"),
        ({"scores": np.full(N, np.nan)}, "scores are not finite, first at index 0: nan"),
        ({"num_replicas": 2}, "shard is 'local', and there are no ranks: call torch.distributed.init_process_group"),
        ({"scheduler": Custom()}, "the scheduler .* has no `share`, so it needs all scores"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CurriculumSampler(**{"num_samples": N, "scheduler": Learned(), "shard": "local", **arguments})


def test_scores_of_shares_need_ranks_and_evidence() -> None:
    with pytest.raises(ValueError, match="shard is 'local', and there are no ranks"):
        balance_score(evidence(), shard="local")
    with pytest.raises(ValueError, match="shard is 'global', expected 'local' or None"):
        balance_score(evidence(), shard="global")
    with pytest.raises(ValueError, match="the evidence has no part, expected at least one"):
        balance_score([])


def test_released_weights_need_scores_in_range_on_every_rank() -> None:
    scores = np.array([0.0, 2.0])
    sampler = CurriculumSampler(2, Learned(variant="released"), scores=scores, shard="local")
    with pytest.raises(ValueError, match=r"the released weights need scores in \[-1, 1\]; they lie in \(0.0, 2.0\)"):
        list(sampler)


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
