"""A difference as plain text for a terminal, as Markdown and as JSON."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import isfinite
from textwrap import fill
from typing import Any

import polars as pl

from bss.evaluation.diff.difference import Difference
from bss.evaluation.diff.sections import sections
from bss.evaluation.diff.summary import summary
from bss.evaluation.page.section import Section, Table
from bss.evaluation.page.text import WIDTH, markdown, plain


def format_text(difference: Difference, top: int) -> str:
    """Plain text of at most 80 columns: the summary, then the tables of everything that changed."""
    lines = [fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in summary(difference)]
    blocks = ["\n".join(lines)]
    for section in sections(difference, top):
        blocks.append(f"{section.title}\n{'=' * len(section.title)}")
        blocks += [_plain(table) for table in _tables(section)]
    return "\n\n".join(blocks)


def format_markdown(difference: Difference, top: int) -> str:
    """The same summary and tables as Markdown: headings, a list and tables."""
    blocks = [
        f"# {difference.before} → {difference.after}",
        "\n".join(f"- {_escaped(line)}" for line in summary(difference)[1:]),
    ]
    for section in sections(difference, top):
        blocks.append(f"## {section.title}")
        for table in _tables(section):
            rows = [[_escaped(cell) for cell in row] for row in table.rows]
            blocks += [f"### {table.title}", *([table.note] if table.note else []), markdown(table.header, rows)]
    return "\n\n".join(blocks)


def format_json(difference: Difference, top: int) -> str:
    """JSON with every number; of a table of pairs the first `top` rows. nan and infinity become null."""
    content = {"changed": difference.changed, "summary": summary(difference), **_plain_value(difference, top)}
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)


FORMS: Mapping[str, Callable[[Difference, int], str]] = {
    "text": format_text,
    "markdown": format_markdown,
    "json": format_json,
}


def _tables(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def _plain(table: Table) -> str:
    note = f"\n{fill(table.note, WIDTH)}" if table.note else ""
    return f"{table.title}{note}\n{plain(table.header, table.rows)}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")


def _plain_value(value: Any, top: int) -> Any:
    """A value of a result as JSON has it; a mapping by cell has the keys METHOD-SCHEDULER-SEED."""
    if isinstance(value, pl.DataFrame):
        rows = value.head(top) if "id" in value.columns else value
        return {"num_rows": len(value), "rows": _plain_value(rows.to_dicts(), top)}
    if is_dataclass(value):
        return {field.name: _plain_value(getattr(value, field.name), top) for field in fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): _plain_value(inner, top) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain_value(inner, top) for inner in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _key(key: Any) -> str:
    return "-".join(map(str, key)) if isinstance(key, tuple) else str(key)
