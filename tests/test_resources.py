from __future__ import annotations

import pytest

from workbench.errors import MissingFile
from workbench.resources import resource


def test_what_does_not_travel_is_named():
    assert (resource("data_manifests") / "synthetic.yaml").is_file()
    with pytest.raises(MissingFile, match="no_such_folder"):
        resource("no_such_folder")
