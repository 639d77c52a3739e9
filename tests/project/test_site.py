"""The site made of README.md and docs/."""

import os
import re
from pathlib import Path

import pytest

import bss
from tests.helpers import ROOT

pytestmark = pytest.mark.xdist_group("site")  # one build for all
mkdocs = pytest.importorskip("mkdocs", reason="the site needs the extra: pip install .[docs]")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, of which a warning would be an error."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


def test_every_page_is_there_and_every_link_leads_to_one(site: Path) -> None:
    pages = {*site.rglob("*.html")}
    assert len(pages) >= len(list((ROOT / "docs").rglob("*.md"))) + len(
        {"index", "contributing", "changelog", "api", "404"}
    )
    for page in pages - {site / "404.html"}:
        for link in re.findall(r'(?:href|src)="([^"#:?]+)["#?]', page.read_text(encoding="utf-8")):
            target = (page.parent / link).resolve()
            assert target.exists() or (target / "index.html").exists(), f"{page}: {link}"


def test_the_reference_has_every_public_name(site: Path) -> None:
    text = (site / "api/index.html").read_text(encoding="utf-8")
    for name in bss.__all__:
        value = getattr(bss, name)
        assert f'id="{value.__module__}.{value.__qualname__}"' in text, name
    assert "larger is more balanced" in text, "docstrings, and not only signatures"


def test_search_finds_what_a_page_says(site: Path) -> None:
    assert "critical distance" in (site / "search/search_index.json").read_text(encoding="utf-8").lower()
