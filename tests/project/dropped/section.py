"""How many pairs each split has."""

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.section import Section, Table

PLACE = 125


def section(inputs: ReportInputs) -> Section:
    """A row a split."""
    rows = [(split, str(number)) for split, number in inputs.num_pairs.items()]
    return Section("Dropped", [Table("Pairs of each split", ("split", "pairs"), rows)])
