"""Tables of studies: `python -m docs.results` puts them into the pages that name them, as `docs.runs` keeps them.

A page names a study by the line `<!-- python -m docs.results NAME writes from here -->`.
"""

import re
from pathlib import Path

from bss.exits import exits
from bss.files import write_text
from docs.marked import begin, filled
from docs.runs import commit_of, table_of

PAGES = [Path(__file__).with_name(name) for name in ("results.md", "results-methods.md")]
COMMAND = "python -m docs.results"
NAMED = re.compile(begin(rf"{COMMAND} (\S+)"))


def written(text: str) -> str:
    """A page with the tables of its studies made anew.

    Raises:
        InputError: nothing is kept of a study.
    """
    for name in NAMED.findall(text):
        text = filled(text, f"{COMMAND} {name}", f"At commit {commit_of(name)}.", table_of(name))
    return text


if __name__ == "__main__":
    with exits():
        for page in PAGES:
            write_text(written(page.read_text(encoding="utf-8")), page)
