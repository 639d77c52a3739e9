"""The command that makes the same grid again, and the versions, parameters and arithmetic that it was made with."""

import yaml

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.section import Code, Facts, Section
from bss.evaluation.page.words import ABSENT

PLACE = 120


def section(inputs: ReportInputs) -> Section:
    """The command, the commit, the versions, how trainings ran, and all parameters."""
    parameters = yaml.safe_dump(dict(inputs.parameters), sort_keys=False, allow_unicode=True)
    return Section(
        "Repeat",
        [
            Code("Command", inputs.command),
            Facts(
                [
                    ("commit", inputs.commit),
                    *inputs.versions.items(),
                    ("arithmetic", "; ".join(inputs.runtimes) or ABSENT),
                ],
                timed=["arithmetic"],
            ),
            Code("Parameters", parameters, folded=True),
        ],
        heading="How to repeat",
    )
