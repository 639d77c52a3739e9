"""Whether the order will matter on this data, before anything is trained by it; from the warm-up alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from bss.evaluation.advice.warmed_up import WarmedUp
from bss.evaluation.findings.balance import LEAD
from bss.evaluation.findings.preferences import class_share
from bss.evaluation.findings.remarks import PREFERENCE, budget_remark
from bss.evaluation.page.section import Verdict
from bss.evaluation.page.text import wrapped
from bss.evaluation.page.words import listed, percent
from bss.wording import counted

TAIL = 0.05
"""Share of the held-out pairs whose scores are called low."""
STANDS_OUT = 0.08
"""Share of the training pairs with such low scores from which on they are called worse than held-out pairs. On the
data sets here it was 0.02 to 0.05 where no pair was damaged, and 0.10 to 0.29 where 40 % were."""
MOST_SEEDS = 0.5
COMPARING = "bss run 'grid.schedulers=[random, matched]'"
"""What a shell is given to compare the scheduler that is recommended with random order."""


@dataclass(frozen=True)
class Advice:
    """What to expect of an order by the score, and why."""

    recommendation: str
    stands_out: bool
    """Whether more training pairs are worse than held-out ones than chance brings."""
    findings: Sequence[Verdict]
    suspects: pl.DataFrame
    """The training pairs that look worse than held-out ones in most seeds, the worst first: index, id, class,
    balance_score, number of seeds, and the modality that is least sure of the true class."""


def advise(seen: WarmedUp) -> Advice:
    """The recommendation, a finding each on what it rests, and the pairs that stand out."""
    shares, found = low_shares(seen.scores, seen.held_out), suspects(seen)
    mean = sum(shares) / len(shares)
    stands_out = mean >= STANDS_OUT
    classes = class_share(seen.scores, seen.manifest)
    between = sum(classes) / len(classes)
    return Advice(
        _recommendation(stands_out, between >= PREFERENCE),
        stands_out,
        [tail_verdict(seen.scores, seen.held_out, found), _classes(between), _lead(seen), _budget(seen.history)],
        found,
    )


def in_words(advice: Advice) -> str:
    """The recommendation and the findings, in lines of 80 characters."""
    lines = [wrapped(advice.recommendation), *(["", f"    {COMPARING}"] if advice.stands_out else [])]
    for finding in advice.findings:
        lines += ["", wrapped(f"- {finding.sentence}"), *([wrapped(f"  {finding.trust}")] if finding.trust else [])]
    return "\n".join(lines) + "\n"


def low_shares(scores: pl.DataFrame, held_out: pl.DataFrame) -> list[float]:
    """Share of the training pairs that score below all but the lowest 5 % of the held-out pairs, a seed each.

    0.05 where both are alike; more where some training pairs are worse.
    """
    limits = _limits(held_out)
    by_seed = scores.sort("seed", "index").group_by("seed", maintain_order=True)
    return [float(np.mean(group["balance_score"].to_numpy() < limits[group["seed"][0]])) for _, group in by_seed]


def suspects(seen: WarmedUp) -> pl.DataFrame:
    """See `Advice.suspects`."""
    limits = pl.col("seed").replace_strict(_limits(seen.held_out), return_dtype=pl.Float64)
    low = seen.scores.filter(pl.col("balance_score") < limits)
    num_seeds = seen.scores["seed"].n_unique()
    least_sure = seen.train.select(
        "seed", "index", least_sure=pl.concat_list(seen.modalities).list.arg_min()
    ).with_columns(pl.col("least_sure").replace_strict(dict(enumerate(seen.modalities)), return_dtype=pl.String))
    pairs = (
        low.join(least_sure, on=["seed", "index"], how="inner")
        .group_by("index")
        .agg(
            pl.col("id").first(),
            pl.col("balance_score").mean(),
            num_seeds=pl.len(),
            least_sure=pl.col("least_sure").mode().sort().first(),
        )
    )
    often = pairs.filter(pl.col("num_seeds") > MOST_SEEDS * num_seeds)
    named = often.join(seen.manifest.select("index", "class"), on="index", how="inner")
    return named.sort("balance_score", "index").select(
        "index", "id", "class", "balance_score", "num_seeds", "least_sure"
    )


def _limits(held_out: pl.DataFrame) -> dict[int, float]:
    """Seed -> the score that 5 % of its held-out pairs lie below."""
    groups = held_out.group_by("seed", maintain_order=True)
    return {group["seed"][0]: float(np.quantile(group["balance_score"], TAIL)) for _, group in groups}


def _recommendation(stands_out: bool, prefers_classes: bool) -> str:
    if stands_out:
        return (
            "An order may help: compare `matched`, which draws the pairs that stand out less often, with `random`. "
            "Look at those pairs first; what is wrong with them is better mended than drawn less often."
        )
    harm = ", and the score prefers classes, so they would bring some of them late" if prefers_classes else ""
    return (
        "Keep random order. Nothing says that an order by the score would help here: `heuristic` and `learned` have "
        f"cost accuracy on such data{harm}; `matched` does next to nothing on it."
    )


def tail_verdict(scores: pl.DataFrame, held_out: pl.DataFrame, found: pl.DataFrame | None = None) -> Verdict:
    """Whether some training pairs are worse than held-out ones; of which modality, where the suspects are given."""
    shares = low_shares(scores, held_out)
    mean = sum(shares) / len(shares)
    sentence = (
        f"{percent(mean)} % of the training pairs score lower than 95 % of the held-out pairs; were they alike, "
        f"{percent(TAIL)} % would."
    )
    spread = f"Between {percent(min(shares))} and {percent(max(shares))} % over {counted(len(shares), 'seed')}. "
    trust = spread if len(shares) > 1 else "One seed. "
    if mean < STANDS_OUT:
        return Verdict(sentence, f"{trust}No group of training pairs stands out.")
    trust += "Some training pairs are worse than held-out ones, and an order by the score may help."
    if found is not None and len(found):
        counts = found["least_sure"].value_counts(sort=True).rows()
        who = listed([f"{name} in {percent(number / len(found))} %" for name, number in counts])
        pairs = f"{counted(len(found), 'pair')} {'is' if len(found) == 1 else 'are'} so"
        trust += f" {pairs} in most seeds; the modality least sure of the label is {who}."
    return Verdict(sentence, trust)


def _classes(share: float) -> Verdict:
    sentence = f"{percent(share)} % of the score's variance lies between classes."
    if share >= PREFERENCE:
        return Verdict(sentence, "An order by the score is then in part an order by class.")
    return Verdict(sentence, "The score ranks pairs within their classes.")


def _budget(history: pl.DataFrame | None) -> Verdict:
    """Whether the trainings had come to an end."""
    if history is None:
        return Verdict("Whether train.epochs is enough shows once the grid was run.")
    sentence, _, advice = next(budget_remark(history), "").partition(": ")
    if not advice:
        return Verdict("The budget is enough: most runs were best before their last epoch.")
    return Verdict(f"{sentence}.", f"{advice[:1].upper()}{advice[1:]}")


def _lead(seen: WarmedUp) -> Verdict:
    """Which modality is surest of the true class of validation pairs."""
    leader, ratio = seen.lead
    each = listed([f"{name} {percent(mean)} %" for name, mean in seen.confidences.items()])
    trust = f"Mean probability of the true class on validation, each modality's own output after the warm-up: {each}."
    if ratio < LEAD:
        return Verdict(f"No modality leads: the surest, {leader}, is at {ratio:.2f} times the others.", trust)
    return Verdict(
        f"{leader} leads: {ratio:.2f} times as sure of the true class as the others.",
        f"{trust} Methods against that: `bss methods --family gradient`.",
    )
