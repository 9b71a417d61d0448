"""The browser of tests that look at pages, and what marks them."""

import os
import shutil

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

#: Slow, and named as not run where there is no browser; in CI, where one must be, they fail instead.
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(
        BROWSER is None and os.environ.get("CI") != "true",
        reason="no chromium or google-chrome on the path (apt-get install chromium)",
    ),
]
