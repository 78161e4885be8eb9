"""States that explorers take and refuse: nothing of a state that is refused is taken over."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from workbench import explore
from workbench.errors import BadParameter, WorkbenchError
from workbench.skeletons import skeleton
from workbench.view.explorer import Control, Explorer, collected, heads_of
from workbench.view.live import read_state
from workbench.view.panels import Bar, Bars
from workbench.view.stage import Scene, Stage

MAPS = "encoder attention"


@pytest.fixture(scope="module")
def port():
    return explore("port", made=3)


@pytest.fixture
def stage():
    frames = [np.zeros((30, 40, 3), np.uint8)] * 3
    return Stage(skeleton("coco17"), [Scene(frames)])


class Picky(Explorer):
    """Refuses what only its computation can know."""

    def declare(self):
        return [Control("span", "list", [])]

    def compute(self, state):
        if len(state["span"]) not in (0, 2):
            raise BadParameter("span")
        return len(state["span"])

    def draw(self, state, found):
        return {"one": [[Bars("", "", [Bar("a", float(found), "ours")])]]}

    def say(self, state, found):
        return f"{found} numbers"


def refused(explorer, state):
    before, shown = explorer.permalink(), (explorer.data, explorer.verdict)
    with pytest.raises(WorkbenchError):
        explorer.restore(state)
    assert explorer.permalink() == before and (explorer.data, explorer.verdict) == shown


@pytest.mark.parametrize(
    "state",
    [
        "{",
        "",
        "[1]",
        "null",
        '{"pose": NaN}',
        '{"delta": 1e999}',
        {"x": 1},
        {"tab": 3},
        {"pose": 0.5},
        {"pose": True},
        {"pose": 3},
        {"hidden": ["a"]},
        {"hidden": [21]},
        {"hidden": [-1]},
        {"hidden": [1.0]},
        {"hidden": [True]},
        {"hidden": [[1]]},
        {"hidden": {}},
        {"knocked out": ["abc"]},
        {"knocked out": [["x", 0, 0]]},
        {"knocked out": [[MAPS, 99, 0]]},
        {"knocked out": [[MAPS, -1, 0]]},
        {"hidden": {1}},
        {"hidden": [2], "attention": 3},
        {"hidden": [2], "attention": {"x": 1}},
        {"hidden": [2], "attention": {"head": [MAPS, True, 0]}},
        {"hidden": [2], "attention": {"hidden": [21]}},
        {"hidden": [2], "attention": {"knocked_out": 3}},
    ],
)
def test_a_state_that_fits_nothing_is_refused_whole(port, state):
    refused(port, state)


def test_states_become_json(port):
    port.choose(hidden=np.array([3]), pose=np.int64(1), delta=np.float32(0.5))
    assert port.state["hidden"] == [3] and type(port.state["pose"]) is int
    assert json.loads(port.permalink())["delta"] == 0.5
    port.choose(pose=0.0, hidden=[])
    assert type(port.state["pose"]) is int
    assert read_state({"a": (1, 2)}) == {"a": [1, 2]}


@pytest.mark.parametrize(
    "stroke",
    [
        "a",
        {},
        {"points": [[1, "a"]], "size": 3, "frames": [0, 0]},
        {"points": [[1, 2, 3]], "size": 3, "frames": [0, 0]},
        {"points": [[1, 2]], "size": 3, "frames": [0]},
        {"points": [[1, 2]], "size": 3, "frames": [0, 0.5]},
        {"points": [[1, 2]], "size": True, "frames": [0, 0]},
    ],
)
def test_a_stroke_that_is_none_is_refused(stage, stroke):
    refused(stage, {"brush": [stroke]})


def test_a_stroke_may_reach_far(stage):
    stage.choose(brush=[{"points": [[1e300, 2]], "size": 1e300, "frames": [0, 10**30]}])
    assert stage.state["brush"][0]["frames"] == [0, 10**30]


def test_where_there_are_no_maps_nothing_is_said_of_them(stage):
    refused(stage, {"attention": {"focus": 1}})


def test_what_a_computation_refuses_is_not_taken_over():
    explorer = Picky(skeleton("coco17"), name="picky")
    refused(explorer, {"span": [1]})
    explorer.choose(span=[1, 2])
    assert explorer.verdict == "2 numbers"


def test_an_error_in_the_line_goes_with_its_cause():
    async def change():
        explorer = Picky(skeleton("coco17"), name="picky")
        said = []
        for span in ([1], []):
            explorer.state = {**explorer.state, "span": span}  # as a browser does
            await asyncio.sleep(0.1)
            said.append(explorer.verdict)
        return said

    error, plain = asyncio.run(change())
    assert error.startswith("BadParameter: span") and plain == "0 numbers"


def test_what_is_declared_lies_within_its_limits():
    class Wrong(Picky):
        def declare(self):
            return [collected("span", range(3), [3])]

    with pytest.raises(WorkbenchError, match="item of span"):
        Wrong(skeleton("coco17"), name="wrong")
    assert heads_of({"a": ["x", "y"]}, 2) == [("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("a", 1, 1)]


def test_a_state_of_the_maps_alone_reaches_the_controls():
    explorer = explore("port", made=3, state={"attention": {"knocked_out": [[MAPS, 0, 1]]}})
    assert explorer.state["knocked out"] == [[MAPS, 0, 1]]
    assert explorer.state["hidden"] == []
