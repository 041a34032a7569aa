"""A real browser for tests of the web page."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

REQUIRED = "GHOST_REQUIRE_BROWSER"
COMMANDS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
REFUSAL = "Failed to load resource"
"""How Chromium reports an answer of 400 or more; the page has no say in it."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; without one the test skips, or fails where one is required."""
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is None:
        reason = f"no {', '.join(COMMANDS)} on the PATH: apt-get install chromium"
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{REQUIRED}=1, but {reason}")
        pytest.skip(reason)
    # The machine may be busy with other tests.
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page that notes what it should not do: errors on the console, and requests to other servers."""

    def __init__(self, browser: Browser, origin: str, *, width: int = 1280, height: int = 900, **look: str) -> None:
        """Open an empty page; `look` is what a context may emulate, such as `color_scheme`."""
        self.origin = origin
        self.context = browser.new_context(viewport={"width": width, "height": height}, **look)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._asked)

    def open(self, fragment: str = "", **query: str) -> Page:
        """Go to the page with a state in its address."""
        self.page.goto(f"{self.origin}/?{urlencode(query)}{fragment}")
        return self.page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(REFUSAL):
            self.faults.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(f"{self.origin}/"):
            self.faults.append(f"asked for {request.url}")


def ngrams(page: Page) -> list[str]:
    """The texts of the tiles that are shown, in their order."""
    texts: list[str] = page.locator(".tile:visible .ngram").all_text_contents()
    return texts
