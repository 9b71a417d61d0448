"""Public sets for tests: read once a process, and only where a local mirror holds them."""

import os
from functools import cache
from typing import Any

import pytest

from clinfit.data.catalog.files import MIRROR
from clinfit.data.catalog.sets import read_catalog

needs_mirror = pytest.mark.skipif(MIRROR not in os.environ, reason=f"{MIRROR} names no local mirror")


@cache
def rows_of(name: str) -> Any:
    """A DataFrame, of whose selections its types know too little."""
    return read_catalog(name)
