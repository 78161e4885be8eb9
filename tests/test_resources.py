from __future__ import annotations

import pytest

from workbench.errors import MissingFile
from workbench.resources import resource, write_beside


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")

    def fails(beside):
        beside.write_text("ha")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_beside(path, fails)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["f"]


def test_what_does_not_travel_is_named():
    assert (resource("data_manifests") / "synthetic.yaml").is_file()
    with pytest.raises(MissingFile, match="no_such_folder"):
        resource("no_such_folder")
