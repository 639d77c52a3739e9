"""What MkDocs needs beside mkdocs.yml: the pages that lie outside of docs/, the API reference and the notebooks.

`mkdocs serve` shows the site, `mkdocs build --strict` makes it in `.site/`.
"""

import re
from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import bss

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Page of the repository -> page of the site."""
API = "api.md"
LINK = re.compile(r"\[([^\[\]]+)\]\(([^)\s:#]+)(#[^)\s]*)?\)|(?<=src=\")([^\":]+)(?=\")")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The pages that are made of other files."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, API, content=api()))
    for notebook in sorted(DOCS.glob("*.ipynb")):
        files.append(File.generated(config, f"{notebook.stem}.md", content=of_notebook(notebook)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as the site has them; to a file that is no page, its name alone."""
    uri = page.file.src_uri
    source = next((name for name, made in OUTSIDE.items() if made == uri), f"docs/{uri}")
    return LINK.sub(lambda match: _link(match, source, uri), markdown)


def api() -> str:
    """The reference of every public name, from its docstrings."""
    found = {name: getattr(bss, name) for name in bss.__all__}
    parts = [f"::: {value.__module__}.{value.__qualname__}" for value in found.values()]
    return "\n\n".join(["# API", "`from bss import ...`; how they go together: [library.md](library.md).", *parts])


def of_notebook(path: Path) -> str:
    """A notebook as Markdown: its texts, its code, and what the code printed."""
    parts = []
    for cell in nbformat.read(path, as_version=4).cells:
        parts.append(cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```")
        printed = "".join(output.get("text", "") for output in cell.get("outputs", []))
        parts += [f"```text\n{printed.rstrip()}\n```"] if printed.strip() else []
    return "\n\n".join(parts)


def _link(match: "re.Match[str]", source: str, uri: str) -> str:
    text, target, anchor, image = match.groups()
    place = (ROOT / source).parent / (target or image)
    inside = OUTSIDE.get(_relative(place, ROOT)) or (_relative(place, DOCS) if place.is_file() else "")
    if not inside:
        return str(text or image)
    inside = inside.replace(".ipynb", ".md")
    up = "../" * uri.count("/")
    return f"{up}{inside}" if image else f"[{text}]({up}{inside}{anchor or ''})"


def _relative(place: Path, folder: Path) -> str:
    place = place.resolve()
    return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else ""
