"""Chromium, for the tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ['open_chromium']


@contextmanager
def open_chromium() -> Iterator['Browser']:
    """A browser without a window; where there is none, the test fails and says what to install."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which('chromium')
    if chromium is None:
        pytest.fail('chromium is missing: apt-get install chromium', pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        yield browser
        browser.close()
