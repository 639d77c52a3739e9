"""The command that makes the same grid again, and the versions, parameters and arithmetic that it was made with."""

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.section import Code, Facts, Section
from bss.parsing import dumped

PLACE = 120


def section(inputs: ReportInputs) -> Section:
    """The command, the commit, the versions, how trainings ran, and all parameters."""
    parameters = dumped(inputs.parameters)
    return Section(
        "Repeat",
        [
            Code("Command", inputs.command),
            Facts(
                [
                    ("commit", inputs.commit),
                    *inputs.versions.items(),
                    ("arithmetic", "; ".join(inputs.runtimes)),
                ],
            ),
            Code("Parameters", parameters, folded=True),
        ],
        heading="How to repeat",
    )
