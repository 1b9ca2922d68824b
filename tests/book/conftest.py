"""What the tests of built pages share."""

import pytest

from tests.book import browser


@pytest.fixture(scope="module")
def show():
    """Opens a page of the built book in a browser; where there is none the test is skipped, and says why."""
    if reason := browser.no_browser():
        print(f"The book is not looked at in a browser: {reason}")
        pytest.skip(reason)
    with browser.opened() as function:
        yield function
