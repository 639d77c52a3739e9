"""The command that makes the same grid again, and the versions and parameters that it was made with."""

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.section import Code, Facts, Section
from bss.parsing import dumped

PLACE = 120


def section(inputs: ReportInputs) -> Section:
    """The command, the commit, the versions and all parameters."""
    parameters = dumped(inputs.parameters)
    return Section(
        "Repeat",
        [
            Code("Command", inputs.command),
            Facts([("commit", inputs.commit), *inputs.versions.items()]),
            Code("Parameters", parameters, folded=True),
        ],
        heading="How to repeat",
    )
