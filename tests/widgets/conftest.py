"""A Chromium for the tests of this folder, or a skip that says why there is none."""

from collections.abc import Iterator
from typing import Any

import harness
import pytest


def missing() -> str:
    """Why no page can be opened; empty where one can."""
    if harness.chromium() is None:
        return f"no Chromium found ({', '.join(harness.NAMES)} on the path, or CHROMIUM)"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "Playwright is not installed (pip install -e '.[test]')"
    return ""


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    """A headless browser, shared by the tests of a module."""
    why = missing()
    if why:
        pytest.skip(why)
    with harness.browser() as found:
        yield found
