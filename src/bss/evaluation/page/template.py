"""Pages from templates, all upon one base with one style sheet."""

from pathlib import Path
from typing import Any

import jinja2

SHARED = Path(__file__).parent
"""Where the base, the macros and the style sheet lie."""


def rendered(template: Path, **content: Any) -> str:
    """The page that a template makes of its content; a name that it lacks is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, SHARED]), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["unbroken"] = lambda text: text.replace(" %", "\N{NO-BREAK SPACE}%")
    return environment.get_template(template.name).render(content)
