"""The advice as a page: what to expect of an order, why, and the training pairs that stand out, to look at."""

import numpy as np
import polars as pl

from bss.evaluation.advice.advise import COMPARING, TAIL, Advice
from bss.evaluation.advice.warmed_up import WarmedUp
from bss.evaluation.grid.examples import TrainingPairs
from bss.evaluation.page.canvas import MUTED, SERIES, WIDE, Chart, canvas, finish
from bss.evaluation.page.section import Block, Charts, Examples, Prose, Section, Table, Verdicts
from bss.evaluation.page.template import rendered
from bss.evaluation.page.words import listed, percent
from bss.wording import counted

MAX_ROWS = 500
"""So many pairs stand in the table; the file beside the page has all."""
NUM_BINS = 24


def advice_page(title: str, advice: Advice, seen: WarmedUp, pairs: TrainingPairs, num_shown: int) -> str:
    """The page as text; the same advice gives the same bytes.

    Args:
        title: of the data set.
        advice: what was found.
        seen: what it was found in.
        pairs: of the training split.
        num_shown: cards of pairs that stand out.
    """
    num_seeds = seen.scores["seed"].n_unique()
    of = f"{title}: {len(pairs.manifest):,} training pairs of {listed(seen.modalities)}."
    trainings = (
        "No training followed an order yet" if seen.history is None else "The trainings judge the budget alone"
    )
    about = (
        f"From the warm-up of {counted(num_seeds, 'seed')}, a few epochs in random order. {trainings}, and the test "
        "split was not looked at."
    )
    why: list[Block] = [
        Verdicts(advice.findings),
        Charts([held_out_chart(seen.scores, seen.held_out)], look="wide"),
    ]
    compared = [f"`{COMPARING}`"] if advice.stands_out else []
    sections = [
        Section("", [Prose([advice.recommendation, *compared], "verdict")]),
        Section("Why", why),
        Section("Pairs", _pairs(advice, pairs, num_seeds, num_shown), heading="Pairs that stand out"),
    ]
    return rendered(
        f"{title}: will the order matter?", "Will the order matter?", [of, about], sections, navigation=True
    )


def held_out_chart(scores: pl.DataFrame, held_out: pl.DataFrame) -> Chart:
    """Scores of the training pairs against those of held-out ones, and the score that 5 % of these lie below."""
    seed = min(scores["seed"])
    train, others = (frame.filter(seed=seed)["balance_score"].to_numpy() for frame in (scores, held_out))
    bins, limit = np.histogram_bin_edges(np.concatenate([train, others]), bins=NUM_BINS), np.quantile(others, TAIL)
    with canvas(WIDE) as (figure, axes):
        for values, label, fill in ((train, "training pairs", True), (others, "held-out pairs", False)):
            colour = SERIES[1] if fill else MUTED
            shares = 100 * np.histogram(values, bins=bins)[0] / len(values)
            axes.stairs(shares, bins, label=label, color=colour, fill=fill, alpha=0.45 if fill else 1)
        axes.axvline(limit, color=MUTED, linestyle="--", linewidth=1)
        axes.set_xlabel("balance score")
        axes.set_ylabel("share of the pairs, %")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncol=2, borderaxespad=0)
        caption = (
            f"Seed {seed}. Left of the dashed line lie {percent(TAIL)} % of the held-out pairs and "
            f"{percent(float(np.mean(train < limit)))} % of the training pairs."
        )
        return finish(figure, "Training pairs against held-out pairs", caption)


def _pairs(advice: Advice, pairs: TrainingPairs, num_seeds: int, num_shown: int) -> list[Block]:
    suspects = advice.suspects
    if suspects.is_empty():
        return [Prose(["No training pair scores lower than 95 % of the held-out pairs in most seeds."])]
    note = (
        f"{counted(len(suspects), 'pair')} of {len(pairs.manifest):,} that score lower than 95 % of the held-out "
        "pairs in most seeds, the worst first. "
    )
    if advice.stands_out:
        note += "A few are such by chance. Where one is wrong, mending it is worth more than any order."
    else:
        note += "Chance alone brings about as many."
    worst = suspects.head(num_shown).with_columns(
        place=pl.lit("least"), remark=pl.format("least sure of the label: {}", "least_sure")
    )
    cards: list[Block] = [Examples("The worst", pairs.shown(worst))] if num_shown else []
    columns = {"id": "pair", "class": "class", "balance_score": "balance score", "num_seeds": "seeds"}
    columns |= {"least_sure": "least sure of the label"}
    rows = [
        [str(name), str(of), f"{score:+.3f}", f"{seeds} of {num_seeds}", modality]
        for name, of, score, seeds, modality in suspects.head(MAX_ROWS).select(*columns).iter_rows()
    ]
    first = f"the first {MAX_ROWS}" if len(suspects) > MAX_ROWS else "all"
    title = f"As a table: {first}; reports/advice.csv has {len(suspects):,}"
    return [Prose([note]), *cards, Table(title, list(columns.values()), rows, folded=True, in_words=True)]
