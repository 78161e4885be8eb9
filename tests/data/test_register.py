"""The register of readers: what each states, and that their order is stated too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.seeds import SEEDS, put
from workbench.data import register
from workbench.data.readers import read, recognise
from workbench.data.register import File, all_readers, reader
from workbench.records import Reading


def test_every_reader_says_what_it_reads_and_when():
    known = all_readers()
    for entry in known.values():
        assert callable(entry.function)
        assert entry.reads and entry.recognised and entry.kind
    orders = [entry.order for entry in known.values()]
    assert orders == sorted(set(orders)) and orders[0] > 0
    used = {seed.reader for seed in SEEDS.values()}
    assert set(known) - used == {"video", "pictures", "folder"}


def test_dialects_are_tried_before_what_they_are_dialects_of():
    names = list(all_readers())
    for dialect in ("jhmdb", "posetrack", "rhd", "panoptic"):
        assert names.index(dialect) < names.index("coco")
    assert names.index("person_boxes") < names.index("detections")
    assert names[-1] == "folder"


def test_a_reader_is_one_function_and_one_decorator(tmp_path, monkeypatch):
    # a copy, so that the toy leaves with the test
    monkeypatch.setattr(register, "REGISTERED", all_readers())
    fields = {"kind": "annotations", "reads": "toys", "recognised": "TOY", "order": 5}

    @reader("toy", fits=lambda file: file.starts(b"TOY"), **fields)
    def read_toy(path, *, on_bad="raise"):
        return Reading("toy", str(path))

    path = put(tmp_path, "a.jpg", b"TOY")
    file, chosen = recognise(path)
    assert (chosen.name, chosen.address) == ("toy", f"{__name__}:read_toy")
    assert isinstance(file, File) and read(path).reader == "toy"
    with pytest.raises(ValueError, match="train and toy have the same order, 5"):
        reader("train", fits=lambda file: False, **fields)(read_toy)


def test_every_module_with_a_reader_is_imported():
    folder = Path(register.__file__).parent
    written = {path.stem for path in folder.glob("*.py") if "\n@reader(" in path.read_text()}
    assert written == set(register.MODULES)
