"""Every page, from its sections: one template, one style sheet, one file that needs nothing beside it."""

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from bss.evaluation.page.section import Section, anchor


def rendered(
    title: str, heading: str, about: Sequence[str], sections: Sequence[Section], navigation: bool = False
) -> str:
    """The page as text; the same sections give the same bytes.

    Args:
        title: of the window.
        heading: above everything.
        about: sentences below the heading, a paragraph each.
        sections: in their order.
        navigation: whether links to the sections stay in sight.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["words"] = words
    environment.filters["anchor"] = anchor
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment.get_template("page.html").render(
        title=title, heading=heading, about=about, sections=sections, navigation=navigation
    )


def words(text: str) -> Markup:
    """A sentence as HTML: what stands in backticks as code, and no line ends before a unit."""
    unbroken = re.sub(r" (?=[%·]|t\])", "\N{NO-BREAK SPACE}", text)
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(unbroken))))  # noqa: S704 - escaped
