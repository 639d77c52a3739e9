"""Pictures of reports/report.html for docs/report.md: `make screenshots`."""

import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.conftest import CHROMIUM

PAGE, IMAGES = Path("reports/report.html"), Path("docs/images")
SIZES = {"desktop": (1280, 1800), "phone": (390, 1800)}
"""Width and height in pixels: the first screen and what follows it."""
SECTIONS = ("imbalance", "changes")


def screenshots() -> None:
    """Write the top of the page for each size, light and dark, and two sections as a phone shows them."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for size in SIZES:
            take(browser, size, is_dark=False)
            take(browser, size, is_dark=True)
        browser.close()


def take(browser: Browser, size: str, *, is_dark: bool) -> None:
    """Write the pictures of one size."""
    width, height = SIZES[size]
    scheme = "dark" if is_dark else "light"
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if is_dark else "light")
    page.goto(PAGE.absolute().as_uri())
    page.screenshot(path=IMAGES / f"report-{size}-{scheme}.png")
    for name in SECTIONS if size == "phone" else ():
        page.locator(f"#{name}").screenshot(path=IMAGES / f"report-{size}-{scheme}-{name}.png")


if __name__ == "__main__":
    if not PAGE.exists():
        sys.exit(f"error: no {PAGE}; run the pipeline first: make run")
    screenshots()
