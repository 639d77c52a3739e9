"""Prefect's pages of a project, as a browser shows them."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.helpers.served import Served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.xdist_group("ui"), pytest.mark.usefixtures("ui_wanted")]
MILLISECONDS_TO_WAIT = 120_000.0


@pytest.fixture
def page(browser: "Browser", served: Served) -> "Iterator[Page]":
    """A page of the server; at the end nothing that it asked of the API has failed.

    Prefect's own pages ask for icons that are not there, and their chart fails without a graphics card.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 900}, base_url=served.api.removesuffix("/api"))
    page.set_default_timeout(MILLISECONDS_TO_WAIT)
    answers = []
    page.on("response", lambda answer: answers.append((answer.status, answer.url)))
    yield page
    page.close()
    assert [(status, url) for status, url in answers if status >= 400 and "/api/" in url] == []


def test_the_deployments_are_listed(page: "Page") -> None:
    page.goto("/deployments")
    page.get_by_text("4 Deployments").wait_for()
    for name in ("pipeline", "nightly", "retrain-on-change", "compare"):
        assert page.get_by_role("link", name=name, exact=True).count()


def test_the_form_has_descriptions_defaults_and_choices_and_starts_a_run(page: "Page", served: Served) -> None:
    page.goto(f"/deployments/deployment/{served.deployment('pipeline/pipeline')['id']}/run")
    for text in ("Learning rate, at the start.", "Only these and what they need; all where none is chosen."):
        page.get_by_text(text).first.wait_for()
    values = [each.input_value() for each in page.locator("input").all()]
    assert values[1:6] == [
        "0",
        "1",
        "2",
        "32",
        "0.002",
    ]  # after the name of the run: seeds, batch size, learning rate
    page.locator("button", has_text="cosine").first.press("ArrowDown")
    page.get_by_text("constant", exact=True).click()
    page.locator("input").nth(values.index("256")).fill("128")
    with page.expect_response(re.compile("create_flow_run")) as answer:
        page.get_by_text("Max Parallel", exact=True).click()  # which closes the choices
        page.get_by_role("button", name="Submit").click()
    assert served.ended(answer.value.json()["id"])[0] == "Completed"
    params = (served.project / "params.yaml").read_text()
    assert "  batch_size: 128\n" in params and "  lr_schedule: constant  " in params


def test_a_finished_run_shows_its_stages_and_its_artifacts(page: "Page", served: Served) -> None:
    run = served.start()
    assert served.ended(run)[0] == "Completed"
    page.goto(f"/runs/flow-run/{run}")
    page.get_by_text("Task Runs", exact=True).first.click()
    page.get_by_text("train@joint-1", exact=True).first.wait_for()
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("summary", exact=True).first.click()
    page.get_by_text("Change against the last successful run").wait_for()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/deployments", "retrain-on-change"),
        ("/v2/deployments", "retrain-on-change"),
        ("/v2/runs", "Automations"),
    ],
)
def test_both_versions_of_the_pages_work_and_ask_no_other_address(
    page: "Page", served: Served, path: str, text: str
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path)
    page.get_by_text(text).first.wait_for()
    page.wait_for_timeout(2000)  # they ask a while after they are drawn
    own = (served.api.removesuffix("/api"), "data:", "blob:")
    assert asked and [url for url in asked if not url.startswith(own)] == []
