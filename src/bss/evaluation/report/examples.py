"""Training pairs from three places of the order, as a person can see and hear them."""

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.strips import WORDS
from bss.evaluation.page.section import Examples, Prose, Section

PLACE = 60
TITLES = {
    "most": "Early: most balanced",
    "median": "Middle: around the median",
    "least": "Late: least balanced",
}


def section(inputs: ReportInputs) -> Section | None:
    """A row of cards for each place; None where the grid was read without examples."""
    if not inputs.examples:
        return None
    note = (
        f"Training pairs from three places of the order by balance score, of seed {inputs.first_seed}. "
        "A curriculum from balanced to imbalanced lets in the first ones early and the last ones late."
    )
    drawn = any(shown.media in ("strip", "map") for pair in inputs.examples for shown in pair.modalities)
    rows = [
        Examples(title, [pair for pair in inputs.examples if pair.place == place]) for place, title in TITLES.items()
    ]
    return Section(
        "Examples", [Prose([note, WORDS] if drawn else [note]), *rows], heading="Early, middle and late pairs"
    )
