"""Acquisitions: golden numbers, slow references, and what holds for each of them."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor

from bss.curriculum.acquisitions._diversity import Points, k_center, k_means_plus_plus
from bss.curriculum.acquisitions._gradients import errors_at_the_prediction
from bss.curriculum.acquisitions.acquisition import ACQUISITIONS, Pool, acquired
from bss.curriculum.acquisitions.bmmal import scaling
from bss.curriculum.acquisitions.mcdal import discrepancies
from bss.errors import InputError
from bss.measure.criteria.criterion import CRITERIA
from bss.measure.evidence import Evidence
from bss.measure.shapley import absolute_shares, shapley_values

W = {"a": [[1.0, 0], [0, 1], [-1, 0.5]], "v": [[0.5, 0], [0, -0.5], [0, 0.5]]}
FEATURES = {"a": [[2.0, 0], [0.5, 0.5], [0, 1], [1, -1]], "v": [[1.0, 1], [2, -2], [0, 0.5], [-1, 3]]}


def golden_pool(labelled: tuple[int, ...] = ()) -> Pool:
    """The worked example of the specification: two modalities of width 2, three classes, a linear head."""
    features = {name: torch.tensor(values, dtype=torch.float64) for name, values in FEATURES.items()}
    bias = torch.tensor([0.1, 0, -0.1], dtype=torch.float64)
    shares = {name: features[name] @ torch.tensor(W[name], dtype=torch.float64).T for name in W}

    def fused(some: tuple[str, ...]) -> Tensor:
        return sum((shares[name] for name in some), torch.zeros(4, 3, dtype=torch.float64)) + bias

    logits = {**shares, "fused": fused(("a", "v"))}
    predicted = logits["fused"].argmax(dim=1)
    subsets = {
        frozenset(some): fused(some).softmax(dim=1).gather(1, predicted[:, None]).squeeze(1)
        for size in range(3)
        for some in combinations(("a", "v"), size)
    }
    is_labelled = np.isin(np.arange(4), labelled)
    return Pool(Evidence(logits, predicted, features), is_labelled, lambda: subsets)


def random_pool(num: int = 60, modalities: int = 2, classes: int = 4, seed: int = 0) -> Pool:
    draws = torch.Generator().manual_seed(seed)
    names = [f"m{place}" for place in range(modalities)]
    logits = {name: torch.randn(num, classes, generator=draws) for name in [*names, "fused"]}
    features = {name: torch.randn(num, 3 + place, generator=draws) for place, name in enumerate(names)}
    subsets = {
        frozenset(some): torch.rand(num, generator=draws)
        for size in range(modalities + 1)
        for some in combinations(names, size)
    }
    is_labelled = np.arange(num) % 5 == 0
    return Pool(Evidence(logits, logits["fused"].argmax(dim=1), features), is_labelled, lambda: subsets)


def outer_products(pool: Pool, scales: Mapping[str, Tensor] | None = None) -> np.ndarray:
    """The gradients themselves, (U, C x width), which no acquisition makes."""
    errors = errors_at_the_prediction(pool).numpy()
    features = pool.features(pool.unlabelled, scales=scales).numpy()
    products: np.ndarray = np.einsum("nc,nd->ncd", errors, features).reshape(len(errors), -1)
    return products


def test_shapley_values_and_scales_of_the_worked_example() -> None:
    pool = golden_pool()
    phi = shapley_values(pool.confidences())
    assert phi["a"].numpy() == pytest.approx([0.495289, 0.042017, 0.167770, 0.493308], abs=1e-6)
    assert phi["v"].numpy() == pytest.approx([0.080902, 0.101757, -0.087943, -0.211812], abs=1e-6)
    assert absolute_shares(phi)["a"].numpy() == pytest.approx([0.859593, 0.292245, 0.656085, 0.699609], abs=1e-6)
    scales = scaling(phi)
    assert scales["a"].numpy() == pytest.approx([1, 0.584490, 1, 1], abs=1e-6)
    assert scales["v"].numpy() == pytest.approx([0.280815, 1, 0.687829, 0.600782], abs=1e-6)


@pytest.mark.parametrize(
    ("scaled", "norms", "distances"),
    [
        (True, [0.147245, 1.925239, 0.770562, 1.131029], [3.672435, 0, 4.009914, 6.850110]),
        (False, [0.176884, 1.963638, 0.814682, 1.654271], None),
    ],
)
def test_gradients_of_the_worked_example(scaled: bool, norms: list[float], distances: list[float] | None) -> None:
    pool = golden_pool()
    scales = scaling(shapley_values(pool.confidences())) if scaled else None
    gradients = outer_products(pool, scales)
    assert np.linalg.norm(gradients, axis=1) == pytest.approx(norms, abs=1e-6)
    points = Points([errors_at_the_prediction(pool), pool.features(pool.unlabelled, scales=scales)])
    found = points.squared_distances(np.arange(4), [1])
    assert found == pytest.approx(((gradients - gradients[1]) ** 2).sum(axis=1), abs=1e-5)
    assert found / found.sum() == pytest.approx(
        [0.252706, 0, 0.275928, 0.471366] if scaled else [0.214950, 0, 0.235405, 0.549644], abs=1e-5
    )
    if distances:
        assert found == pytest.approx(distances, abs=1e-5)
    acquisition = ACQUISITIONS.example("bmmal" if scaled else "badge")
    assert acquired(acquisition, pool, 1, 0, 1).tolist() == [1]


def test_uncertainties_and_coreset_of_the_worked_example() -> None:
    pool = golden_pool()
    probabilities = pool.logits().softmax(dim=1)
    entropy, margin, confidence = (ACQUISITIONS.example(n) for n in ("entropy", "margin", "least_confidence"))
    assert entropy.uncertainty(probabilities).numpy() == pytest.approx(
        [0.249467, 0.796625, 1.063713, 0.748912], abs=1e-6
    )
    assert (-margin.uncertainty(probabilities)).numpy() == pytest.approx(
        [0.900859, 0.048622, 0.039212, 0.326546], abs=1e-6
    )
    assert acquired(entropy, pool, 2, 0, 1).tolist() == [2, 1]
    assert acquired(margin, pool, 2, 0, 1).tolist() == [2, 1]
    assert acquired(confidence, pool, 4, 0, 1).tolist() == [2, 1, 3, 0]
    assert acquired(ACQUISITIONS.example("coreset"), golden_pool((0,)), 2, 0, 1).tolist() == [1, 3]


def test_uncertainty_of_the_modalities_is_their_mean() -> None:
    pool = random_pool()
    means = torch.stack([pool.logits(name).softmax(1).amax(1) for name in pool.evidence.modalities]).mean(dim=0)
    expected = pool.unlabelled[np.argsort(means.numpy(), kind="stable")[:5]]
    found = acquired(ACQUISITIONS.example("least_confidence", outputs="mean"), pool, 5, 0, 1)
    assert found.tolist() == expected.tolist()


def test_discrepancies_of_the_worked_example() -> None:
    main = torch.tensor([[2.0, 0, 0], [0.5, 0.2, 0]], dtype=torch.float64)
    first = torch.tensor([[1.5, 0, 0.5], [0, 1, 0]], dtype=torch.float64)
    second = torch.tensor([[2.0, 0.5, 0], [1, 0, 0]], dtype=torch.float64)
    found = discrepancies(main, first, second)
    assert found.numpy() == pytest.approx([0.695598, 1.549597], abs=1e-6)
    assert float(found.mean()) / 3 == pytest.approx(0.374199, abs=1e-6)


def test_mcdal_asks_where_the_labels_leave_it_open() -> None:
    """One feature carries the label; in another region of the second feature there is no label at all."""
    draws = torch.Generator().manual_seed(1)
    values = torch.randn(300, 2, generator=draws)
    values[150:, 1] += 6
    logits = torch.stack([values[:, 0], -values[:, 0]], dim=1)
    evidence = Evidence(
        {"a": logits, "v": logits, "fused": logits},
        logits.argmax(dim=1),
        {"a": values, "v": values.flip(0)[:, :1] * 0},
    )
    pool = Pool(evidence, np.arange(300) < 60)
    chosen = acquired(ACQUISITIONS.example("mcdal", steps=200), pool, 30, 0, 1)
    assert (chosen >= 150).mean() > 0.9


def test_the_expected_loss_needs_no_label() -> None:
    logits = {"a": [[1.5, 0, 0]], "v": [[0, 1.0, 0]], "fused": [[2.0, 1, 0]]}
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in logits.items()}
    of_label = [CRITERIA["expected_loss"](Evidence(tensors, torch.tensor([label]))) for label in (0, 1)]
    assert float(of_label[0]) == float(of_label[1]) == pytest.approx(3.010232, abs=1e-6)
    assert float(CRITERIA["entropy"](Evidence(tensors, torch.tensor([0])))) == pytest.approx(0.903576, abs=1e-6)


def test_a_criterion_says_whether_it_needs_labels() -> None:
    random = random_pool().evidence
    features = {name: random.needed_features("a test")["m1"] for name in random.modalities}
    evidence = Evidence(random.logits, random.labels, features)
    other = Evidence(evidence.logits, (evidence.labels + 1) % 4, evidence.features)
    for name in CRITERIA:
        changes = not torch.equal(CRITERIA[name](evidence), CRITERIA[name](other))
        assert CRITERIA[name].needs_labels == changes, name
    with pytest.raises(ValueError, match="training_loss needs labels"):
        ACQUISITIONS.example("balance", criteria=("prediction_similarity", "training_loss"))


def test_the_balance_score_from_either_end() -> None:
    pool = random_pool()
    ends = [
        acquired(ACQUISITIONS.example("balance", prefer=end), pool, 48, 0, 1) for end in ("balanced", "imbalanced")
    ]
    assert ends[0].tolist() == ends[1].tolist()[::-1]


@pytest.mark.parametrize("name", ACQUISITIONS)
@pytest.mark.parametrize("modalities", [2, pytest.param(3, marks=pytest.mark.nightly), 6])
def test_each_asks_for_different_unlabelled_pairs(name: str, modalities: int) -> None:
    acquisition, pool = ACQUISITIONS.example(name), random_pool(modalities=modalities)
    chosen = acquired(acquisition, pool, 20, 3, 2)
    assert chosen.dtype == np.int64
    assert len(set(chosen.tolist())) == 20
    assert not pool.is_labelled[chosen].any()
    assert acquired(acquisition, pool, 20, 3, 2).tolist() == chosen.tolist()
    assert sorted(acquired(acquisition, pool, 48, 3, 2)) == pool.unlabelled.tolist()
    with pytest.raises(InputError, match=r"active\.per_round: 49 labels .* 48 of 60"):
        acquired(acquisition, pool, 49, 3, 2)


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_each_copes_with_pairs_that_are_alike_and_with_extreme_logits(name: str) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0], [0, 0, 0]]).repeat(10, 1)
    evidence = Evidence(
        {"a": logits, "v": logits, "fused": logits}, logits.argmax(dim=1), {n: torch.ones(20, 2) for n in "av"}
    )
    subsets = {frozenset(some): torch.zeros(20) for size in range(3) for some in combinations("av", size)}
    pool = Pool(evidence, np.arange(20) < 2, lambda: subsets)
    assert len(set(acquired(ACQUISITIONS.example(name), pool, 15, 0, 1).tolist())) == 15


def test_k_means_plus_plus_draws_as_if_every_distance_were_known() -> None:
    """The second draw and the third, over many generators, against probabilities computed outright."""
    draws = np.random.default_rng(0)
    values = torch.from_numpy(draws.normal(size=(5, 2)).astype(np.float32))
    num_runs = 4000
    counts = np.zeros((5, 5))
    for seed in range(num_runs):
        _, second, third = k_means_plus_plus(Points([values]), 3, np.random.default_rng(seed))
        counts[second, third] += 1
    squares = ((values[:, None] - values) ** 2).sum(dim=2).numpy().astype(float)
    first = int((values**2).sum(dim=1).argmax())
    expected = np.zeros((5, 5))
    for second in range(5):
        nearest = np.minimum(squares[first], squares[second])
        if nearest.sum() > 0 and squares[first, second] > 0:
            expected[second] = squares[first, second] / squares[first].sum() * nearest / nearest.sum()
    cells = expected > 0
    chi_square = ((counts - num_runs * expected)[cells] ** 2 / (num_runs * expected[cells])).sum()
    assert chi_square < 31.4  # 99.9 % of 11 degrees of freedom
    assert not counts[~cells].any()


def test_k_center_takes_the_farthest_each_time() -> None:
    draws = np.random.default_rng(2)
    values = draws.normal(size=(400, 3)).astype(np.float32)
    found = k_center(Points([torch.from_numpy(values)]), [0, 7], 100)
    nearest = np.minimum(*(((values - values[centre]) ** 2).sum(axis=1) for centre in (0, 7)))
    for place in found:
        assert nearest[place] == pytest.approx(nearest.max(), rel=1e-4)
        nearest = np.minimum(nearest, ((values - values[place]) ** 2).sum(axis=1))


def test_badge_is_bmmal_where_all_modalities_count_alike() -> None:
    pool = random_pool()
    alike = {subset: torch.full((60,), 0.1 * len(subset)) for subset in pool.confidences()}
    balanced = Pool(pool.evidence, pool.is_labelled, lambda: alike)
    badge, bmmal = (acquired(ACQUISITIONS.example(name), balanced, 20, 1, 1).tolist() for name in ("badge", "bmmal"))
    assert badge == bmmal


def test_a_model_without_a_fusion_is_refused_by_bmmal() -> None:
    pool = random_pool()
    with pytest.raises(InputError, match="asks a fusion of features"):
        acquired(ACQUISITIONS.example("bmmal"), Pool(pool.evidence, pool.is_labelled), 5, 0, 1)
