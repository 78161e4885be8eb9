from __future__ import annotations

from functools import partial

import pytest

from tests.recipes.small import small_recipe


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Where rendered clips are kept, for all tests."""
    return tmp_path_factory.mktemp("worlds")


@pytest.fixture
def small(tmp_path, clips):
    """(method) -> its recipe in small, everything in temporary folders."""
    return partial(small_recipe, folder=tmp_path, clips=clips)
