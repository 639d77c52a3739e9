"""The page as a browser shows it: without a network, at several widths, light and dark."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from bss.evaluation.comparing.table import comparison_table
from bss.evaluation.grid.inputs import ReportInputs
from bss.evaluation.grid.page import sections, write_report
from bss.evaluation.page import template
from bss.evaluation.page.canvas import SERIES, VARIABLES
from bss.evaluation.page.template import rendered
from bss.evaluation.report import cost, results
from bss.evaluation.report.confusion import MAX_OPACITY, SHADE
from bss.evaluation.study.page import write_comparison
from tests.evaluation.report.test_page import SOUND, WORDS, grid
from tests.evaluation.study.test_comparison import VARIANTS, given, runs

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("browser")  # one page for all
LIGHT, DARK = "light", "dark"
WITHOUT_CHART = {"decision", "results", "examples", "repeat"}
TEXT, GRAPHIC = 4.5, 3.0
"""The least contrast of text, and of what a chart draws (WCAG 2.1, 1.4.3 AA and 1.4.11)."""
Colour = tuple[float, ...]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return grid(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def address(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(inputs, path)
    return path.as_uri()


@pytest.fixture(scope="module")
def anchors(inputs: ReportInputs) -> list[str]:
    return [section.anchor for section in sections(inputs)]


@contextmanager
def opened(browser: "Browser", address: str, width: int = 1280, scheme: str = LIGHT) -> "Iterator[Page]":
    """The page without a network; nothing may fail, complain or be asked for beside it."""
    with browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == DARK else "light", offline=True
    ) as context:
        page, complaints, asked = context.new_page(), list[str](), list[str]()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:80]}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page
        assert complaints == []
        assert [url for url in asked if not url.startswith("data:")] == [address]


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        *[(360, LIGHT), (1280, DARK)],
        *(
            pytest.param(*size, marks=pytest.mark.nightly)
            for size in [(360, DARK), (768, LIGHT), (768, DARK), (1280, LIGHT)]
        ),
    ],
)
def test_every_chart_fits_and_the_page_does_not_scroll_sideways(
    browser: "Browser", address: str, anchors: list[str], width: int, scheme: str
) -> None:
    with opened(browser, address, width, scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for name in anchors:
            charts = page.locator(f"#{name} figure svg[role=img]").all()
            assert bool(charts) == (name not in WITHOUT_CHART), name
            for chart in charts:
                box = chart.bounding_box()
                assert box is not None
                assert box["width"] > 200
                assert box["height"] > 40
                assert box["x"] >= 0 and box["x"] + box["width"] <= width
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == DARK)


SCROLLED = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth)"
KINDS = {"accelerometer": WORDS, "magnetometer": WORDS, "heart_rate": WORDS, "temperature": WORDS, "pose": WORDS}


@pytest.mark.parametrize(
    ("num_kinds", "methods"),
    [pytest.param(2, ("joint",), marks=pytest.mark.nightly), (5, ("joint", "data_remixing"))],
)
def test_no_table_scrolls_on_a_desktop_and_numbers_are_seen_on_a_phone(
    browser: "Browser", tmp_path: Path, num_kinds: int, methods: tuple[str, ...]
) -> None:
    kinds = {"audio": SOUND, **dict(list(KINDS.items())[:num_kinds])}
    made = grid(tmp_path, kinds=kinds, methods=methods, seeds=(0, 1))
    own = made.metrics.filter(output="fused").with_columns(output=pl.lit("own"))
    labels = {"learned": "learned, criteria prediction_similarity & training_loss, beta 0.5, temperature 2"}
    wide = replace(made, metrics=pl.concat([made.metrics, own]), labels=labels)
    page_of_tables = rendered("wide", "wide", (), [results.section(wide), cost.section(wide)])
    (tmp_path / "report.html").write_text(page_of_tables)
    with opened(browser, (tmp_path / "report.html").as_uri()) as page:
        assert page.evaluate(f"{SCROLLED}.map(box => box.ariaLabel)") == []
        assert page.locator(".scroll").count() == 4
        page.set_viewport_size({"width": 390, "height": 900})
        for number in page.locator("#results > .scroll td:nth-child(2), #cost > .scroll td:nth-child(2)").all():
            box = number.bounding_box()
            assert box and box["x"] + box["width"] <= 390


def test_no_table_of_a_comparison_scrolls_on_a_desktop(browser: "Browser", tmp_path: Path) -> None:
    beside = {f"accuracy_of_{name}": pl.col("accuracy") / 2 for name in ("audio", *KINDS)}
    both = pl.concat([runs(), runs("data_remixing")])
    both = both.with_columns(**beside, accuracy_by_own_rule="accuracy")
    write_comparison(given(comparison_table(both, VARIANTS, "random", 0.95), runs=both), tmp_path)
    with opened(browser, (tmp_path / "page.html").as_uri()) as page:
        assert page.evaluate(f"{SCROLLED}.map(box => box.ariaLabel)") == []
        page.set_viewport_size({"width": 390, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for number in page.locator("tbody td:nth-child(2)").all():
            box = number.bounding_box()
            assert box and box["x"] + box["width"] <= 390
        for chart in page.locator("figure svg[role=img]").all():
            box = chart.bounding_box()
            assert box and box["x"] + box["width"] <= 390, "a line at 0 is in sight"


def test_what_was_found_is_on_the_first_screen_in_letters_of_one_size(browser: "Browser", address: str) -> None:
    with opened(browser, address) as page:
        verdicts = page.locator(".finding").all()
        first = [each for each in verdicts if (box := each.bounding_box()) and box["y"] + box["height"] < 900]
        words = " ".join(each.inner_text() for each in first)
        for part in ("The balance score finds the damaged pairs: AUC", "the best single modality", "random order"):
            assert part in words
        assert len({each.evaluate("part => getComputedStyle(part).fontSize") for each in first}) == 1
        chart = page.locator(".findings svg[role=img]").bounding_box()
        assert chart and chart["y"] + chart["height"] < 900


def test_sounds_play_and_pictures_are_seen(browser: "Browser", address: str) -> None:
    with opened(browser, address) as page:
        page.wait_for_function("[...document.querySelectorAll('audio')].every(sound => sound.duration > 0)")
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert page.locator("audio").count() == page.locator("img").count() == 12


def test_a_link_leads_to_a_heading_that_nothing_covers(browser: "Browser", address: str, anchors: list[str]) -> None:
    with opened(browser, address) as page:
        page.emulate_media(reduced_motion="reduce")
        for name in anchors:
            page.locator(f"nav a[href='#{name}']").click()
            heading, bar = page.locator(f"#{name} h2").bounding_box(), page.locator("nav").bounding_box()
            assert heading and bar
            assert heading["y"] >= bar["y"] + bar["height"], name


def test_details_open_by_keyboard(browser: "Browser", address: str) -> None:
    with opened(browser, address) as page:
        for part in page.locator("details").all():
            assert not part.locator("table, pre").is_visible()
            part.locator("summary").press("Enter")
            assert part.locator("table, pre").is_visible()


def test_who_goes_by_keyboard_sees_where_they_are(browser: "Browser", address: str) -> None:
    with opened(browser, address) as page:
        stops = set()
        for _ in range(40):
            page.keyboard.press("Tab")
            tag, outline = page.evaluate(
                "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
            )
            stops.add(tag)
            assert outline != "none", tag
        assert {"A", "DIV", "SUMMARY", "AUDIO"} <= stops


def test_headings_go_down_one_level_at_a_time(browser: "Browser", address: str) -> None:
    with opened(browser, address) as page:
        headings = page.locator("h1, h2, h3, h4, h5, h6").evaluate_all("found => found.map(each => each.tagName)")
        levels = [int(tag[1]) for tag in headings]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert page.locator("html").get_attribute("lang") == "en"


def test_who_wants_no_motion_gets_none(browser: "Browser", address: str) -> None:
    with opened(browser, address) as page:
        of_scrolling = "getComputedStyle(document.documentElement).scrollBehavior"
        assert page.evaluate(of_scrolling) == "smooth"
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate(of_scrolling) == "auto"


def palettes() -> dict[str, dict[str, Colour]]:
    """The variables of the style sheet that are colours, in [0, 1], light and dark."""
    css = Path(template.__file__).with_name("page.css").read_text()
    light, dark = (dict(re.findall(r"--([\w-]+): #(\w{6})", part)) for part in css.split("@media (prefers-color")[:2])
    return {
        name: {key: tuple(value / 255 for value in bytes.fromhex(digits)) for key, digits in found.items()}
        for name, found in ((LIGHT, light), (DARK, dark))
    }


def contrast(first: Colour, second: Colour) -> float:
    """The contrast ratio of WCAG 2.1, in [1, 21]."""

    def luminance(colour: Colour) -> float:
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)
    assert contrast((0x77 / 255,) * 3, (1, 1, 1)) == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_text_and_lines_stand_out_from_what_is_behind_them(scheme: str) -> None:
    colours = palettes()[scheme]
    for text, ground in [
        *product(["ink", "muted", "accent"], ["paper", "card"]),
        ("ink", "tint"), ("ink", "warn-tint"), ("warn", "warn-tint"),
    ]:  # fmt: skip
        assert contrast(colours[text], colours[ground]) >= TEXT, (text, ground)
    for series in SERIES:
        assert contrast(colours[VARIABLES[series]], colours["card"]) >= GRAPHIC, series
    full = tuple(MAX_OPACITY * a + (1 - MAX_OPACITY) * b for a, b in zip(SHADE, colours["card"], strict=True))
    assert contrast(colours["ink"], full) >= TEXT
