"""The command that makes the same grid again, and the versions and parameters that it was made with."""

import yaml

from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.page.section import Code, Facts, Section

PLACE = 120


def section(inputs: ReportInputs) -> Section:
    """The command, the commit, the versions and all parameters."""
    parameters = yaml.safe_dump(dict(inputs.parameters), sort_keys=False, allow_unicode=True)
    return Section(
        "Repeat",
        [
            Code("Command", inputs.command),
            Facts([("commit", inputs.commit), *inputs.versions.items()]),
            Code("Parameters", parameters, folded=True),
        ],
        heading="How to repeat",
    )
