"""What holds for every recipe: what it refuses, what its rows and cards say, what is trained once.

The small recipes of `small.py` are trained for two steps, shipped, and evaluated by what they
shipped.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.recipes.small import ASKED, QUICK, measured, small_recipe, trained, weights_in
from workbench import checkpoint, predict
from workbench.errors import BadParameter, UnknownName
from workbench.recipes import base
from workbench.recipes.base import (
    METHODS,
    Learned,
    Options,
    Recipe,
    Scores,
    Task,
    flat_row,
    measure,
    paired,
    recipe,
    rows,
)
from workbench.train import TrainConfig

# asked for in the evaluation of the small recipes; None: the shipped weights are judged
VARIANTS = {"port": None, "otpose": ("otpose",), "stdpose": ("e", "stdpose")}
VARIANTS |= {"hanet": ("plain", "hanet"), "vissimcc": ("baseline", "masking")}
EVALUATIONS = {method: {**ASKED, "variants": names} for method, names in VARIANTS.items() if names}
EVALUATIONS["port"] = {"device": "cpu", "progress": False}
EVALUATIONS["stdpose"]["intervals"] = (7,)
MORE = {"precision": "fp32", "boxes": "x.json", "weights": "x.pth", "task": "pseudo"}
MORE |= {"intervals": (7,), "given": 0.5}


@pytest.fixture(scope="module", params=METHODS)
def shipped(request, tmp_path_factory, clips) -> Recipe:
    """A small recipe whose trained weights lie where it looks for shipped ones."""
    folder = tmp_path_factory.mktemp(request.param)
    chosen = small_recipe(request.param, folder, clips)
    file = chosen.ship(folder / "shipped" / f"{request.param}.safetensors", QUICK)
    for path in file.parent.iterdir():
        (folder / "weights" / path.name).unlink(missing_ok=True)
        path.rename(folder / "weights" / path.name)
    return chosen


@pytest.fixture(scope="module")
def result(shipped) -> dict:
    """The evaluation on what the workbench makes."""
    return shipped.evaluate(**EVALUATIONS[shipped.name])


@pytest.mark.parametrize("method", METHODS)
def test_what_it_does_not_have_is_refused_by_name(method, tmp_path):
    chosen = replace(recipe(method), folder=tmp_path)
    for option in set(MORE) - chosen.options:
        with pytest.raises(BadParameter, match=f"{method} has no --{option}"):
            chosen.evaluate(**{option: MORE[option]})
    with pytest.raises(UnknownName, match=f"unknown data of {chosen.title} 'synthetik'"):
        chosen.evaluate("synthetik")
    with pytest.raises(UnknownName, match=f"unknown variant of {chosen.title} 'otpoes'"):
        chosen.train("otpoes", Options())
    with pytest.raises(UnknownName, match=f"unknown skeleton of {chosen.title} 'coco71'"):
        chosen.ship(tmp_path / "x.safetensors", Options(), skeleton="coco71")
    if "precision" in chosen.options:
        with pytest.raises(BadParameter, match="choose fp32 or bf16"):
            chosen.evaluate(precision="half")
    with pytest.raises(UnknownName, match=f"unknown variant of {chosen.title} 'otpoes'"):
        chosen.evaluate(variants=("otpoes",))
    assert not list(tmp_path.iterdir())


def test_a_method_is_found_by_its_name():
    assert {recipe(method).name for method in METHODS} == set(METHODS)
    with pytest.raises(UnknownName, match="did you mean 'port'"):
        recipe("prot")


def test_rows_have_one_format(result):
    json.dumps(result, allow_nan=False)
    assert result["schema_version"] == 1 and set(result) >= {"protocol", "rows"}
    ours = measured(result)
    assert len(ours) >= 4
    for row in ours:
        assert {"method", "seed", "n", "metrics", "intervals"} <= set(row)
        assert row["n"] > 0 and row["metrics"]
        assert set(row["intervals"]) <= set(row["metrics"])
        for name, (low, high) in row["intervals"].items():
            assert low <= row["metrics"][name] + 1e-9 and row["metrics"][name] <= high + 1e-9, name
    for row in result["rows"]:
        assert row["kind"] in ("measured", "paper") and isinstance(row["metrics"], dict)


def test_paired_differences_are_those_of_the_rows(result):
    ours = measured(result)
    with_pairs = [row for row in ours if row.get("paired")]
    assert with_pairs
    for row in with_pairs:
        for name, pair in row["paired"].items():
            case = [r for r in ours if all(r.get(key) == row.get(key) for key in ("subset", "T"))]
            others = [other for other in case if other.get("variant") == pair["rival"]]
            others = others or [other for other in case if other["method"] == pair["rival"]]
            (rival,) = others
            difference = row["metrics"][name] - rival["metrics"][name]
            assert pair["difference"] == pytest.approx(difference, abs=1e-6), name
            low, high = pair["interval"]
            assert low <= difference + 1e-6 and difference - 1e-6 <= high, name


def test_tables_show_rows_and_what_is_compared(shipped, result):
    table = shipped.flat(result)
    assert len(table) == len(result["rows"])
    for line, row in zip(table, result["rows"]):
        assert line["kind"] == row["kind"] and line["n"] == row.get("n")
        for name in set(shipped.compared) & set(row.get("paired", {})):
            pair = row["paired"][name]
            text = line[f"{name}, against {pair['rival']}"]
            assert text.startswith(f"{pair['difference']:+.2f} [")


def test_the_protocol_says_how_long_was_learned(shipped, result):
    if VARIANTS[shipped.name] is None:
        assert "steps" not in result["protocol"], "nothing was trained"
    else:
        assert "2 steps" in result["protocol"]


def test_a_finished_training_is_not_made_again(shipped):
    variant = next(iter(shipped.shipped))
    other = replace(shipped, weights=weights_in(shipped.folder / "nothing is shipped"))
    if shipped.name in ("otpose", "stdpose"):  # which go on from weights of another method
        other = replace(shipped, shipped={})
    first = other.train(variant, QUICK)
    places, written = trained(other), first.weights.stat().st_mtime_ns
    again = other.train(variant, QUICK)
    assert again.weights == first.weights and trained(other) == places
    assert again.weights.stat().st_mtime_ns == written
    assert (again.seed, again.steps) == (0, 2)
    another = other.train(variant, replace(QUICK, seed=1))
    assert another.weights != first.weights and another.seed == 1


def test_the_shipped_file_is_what_its_training_would_be(shipped, tmp_path):
    variant, name = next(iter(shipped.shipped.items()))
    chosen = shipped.variants[variant]
    chosen = replace(chosen, train=chosen.ship or chosen.train)
    variants = {**shipped.variants, variant: chosen}
    elsewhere = replace(shipped, variants=variants, folder=tmp_path)
    learned = elsewhere.train(variant, QUICK)
    assert learned.weights == shipped.weights(name)
    cards = [checkpoint.read_card(path) for path in trained(elsewhere)]
    own = checkpoint.read_card(learned.weights)
    assert own["fingerprint"] not in [card["fingerprint"] for card in cards], "at most its start"
    anew = elsewhere.train(variant, replace(QUICK, anew=True))
    assert anew.weights.parent.parent == tmp_path, "`workbench train` makes it anew"


def test_shipped_files_have_cards(shipped):
    for variant, name in shipped.shipped.items():
        path = shipped.weights(name)
        card = checkpoint.read_card(path)
        own = shipped.variants[variant].config
        if getattr(own, "skeleton", card["skeleton"]) != card["skeleton"]:
            continue  # of other joints: a file of its own
        assert card["command"] == f"workbench train {shipped.name} --seed 0 --steps 2"
        assert card["licence"].startswith("Apache-2.0") and card["skeleton"] in shipped.skeletons
        assert card["train"]["steps"] == 2 and card["history"]
        assert "synthetic" in card["metrics_data"] or "people" in card["metrics_data"]
        numbers = [v for row in card["metrics"].values() for v in row.values()]
        assert numbers and np.isfinite(numbers).all()
        assert predict.load(str(path)).model.config == own


# --- by hand --------------------------------------------------------------------------------------


def _scores(name: str, values, groups="aabbc", **more) -> Scores:
    return Scores({"method": name, "subset": "all"}, len(values), {"x": values}, groups, **more)


def test_differences_are_taken_case_by_case():
    """Cases differ by far more than methods do: the pairs alone show it."""
    cases = np.array([0.0, 100, 200, 300, 400])
    groups = list("aabbc")
    first = _scores("ours", cases + np.array([1.0, 2, 1, 2, 1]), groups)
    other = _scores("theirs", cases, groups)
    found = paired(first, other, "theirs")["x"]
    assert found["difference"] == pytest.approx(1.4) and found["rival"] == "theirs"
    assert 1 <= found["interval"][0] <= 1.4 <= found["interval"][1] <= 2
    alone = base.intervals(first)["x"]
    assert alone[1] - alone[0] > 50
    assert paired(first, _scores("short", cases[:3], groups[:3]), "short") == {}


def test_one_group_alone_has_no_interval_and_nan_is_no_case():
    one = _scores("ours", np.array([1.0, 2, np.nan]), ["a", "a", "b"])
    (row,) = rows({"ours": [one]}, {"ours": Learned(None, seed=3, steps=5)}, steps=True)
    assert row["metrics"] == {"x": 1.5} and row["intervals"] == {}
    assert (row["seed"], row["steps"]) == (3, 5)
    nothing = _scores("ours", np.array([np.nan]), ["a"])
    assert rows({"ours": [nothing]})[0]["metrics"] == {}


def test_shares_are_drawn_together():
    draws = np.linspace(0.4, 0.6, 101)
    ours = Scores({"method": "a"}, 7, whole={"AP": 51.0}, draws={"AP": draws + 0.01})
    theirs = Scores({"method": "b"}, 7, whole={"AP": 50.0}, draws={"AP": draws})
    row = rows({"a": [ours], "b": [theirs]}, rival="b")[0]
    low, high = row["intervals"]["AP"]
    assert 41 < low < 42 and 60 < high < 61
    pair = row["paired"]["AP"]
    assert pair["difference"] == 1 and pair["interval"] == pytest.approx([1, 1])
    some = replace(ours, draws={"AP": np.append(draws + 0.01, np.nan)})
    assert base.intervals(some)["AP"] == base.intervals(ours)["AP"], "one drew nothing that counts"


def test_a_row_is_compared_with_the_one_before_it_where_that_is_there():
    values = {name: np.arange(5.0) + x for x, name in enumerate("abc")}
    cases = {name: [_scores(name, each, list("aabbc"))] for name, each in values.items()}
    found = rows(cases, rival="a", rivals={"b": "missing", "c": "b"})
    pairs = [row.get("paired", {}).get("x") for row in found]
    assert pairs[0] is None
    assert [(p["rival"], p["difference"]) for p in pairs[1:]] == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("steps", [False, True])
def test_each_case_of_a_task_has_its_rival(steps):
    """Rows of an interval are compared with the rival's row at the same interval."""
    task = Task(
        variants=("ours",),
        learn=lambda name, case: Learned(10 * case, seed=1, steps=2, text=f"{case} steps"),
        scores=lambda case, found: {
            name: [Scores({"method": name, "T": case}, 3, {"x": x + np.arange(3.0)}, list("abc"))]
            for name, x in {"base": case, **found}.items()
        },
        protocol="all",
        rival="base",
        cases=(1, 2),
        boxes="none",
        steps=steps,
    )
    result = measure(task)
    assert result["protocol"] == "all; ours: 1 steps; ours: 2 steps" and result["boxes"] == "none"
    assert [r.get("steps") for r in result["rows"]] == [None, 2 if steps else None] * 2
    assert [(r["method"], r["T"], r["metrics"]["x"]) for r in result["rows"]] == [
        ("base", 1, 2),
        ("ours", 1, 11),
        ("base", 2, 3),
        ("ours", 2, 21),
    ]
    assert [r.get("paired", {}).get("x", {}).get("difference") for r in result["rows"]] == [
        None,
        9,
        None,
        18,
    ]


def test_caps_shorten_warm_up_too():
    config = TrainConfig(steps=100, warmup_steps=30, seed=0)
    capped = Options(steps=10, seed=4).settings(config)
    assert (capped.steps, capped.warmup_steps, capped.seed) == (10, 2, 4)
    assert Options(steps=1_000).settings(config) == config


def test_changes_are_printed_with_their_interval():
    line = {"method": "a", "kind": "measured", "n": 3, "metrics": {"x": 2.0, "x_change": -0.5}}
    line["intervals"] = {"x_change": [-1.0, 0.25]}
    shown = flat_row(line, {"X": "x", "change": "x_change"})
    assert shown["X"] == 2 and shown["change"] == "-0.50 [-1.00, +0.25]"
    assert list(flat_row(line, None))[:3] == ["method", "x", "x_change"]
