from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from workbench.models.port import masked_joint_nll, normalised_adjacency
from workbench.occlusion import cover
from workbench.skeletons import skeleton
from workbench.view import exercises, paper
from workbench.view.explorer import Explorer, number
from workbench.view.panels import Bar, Bars


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr(exercises, "display", lambda markdown: texts.append(markdown.data))
    return texts


def test_right_answers_are_right(said):
    assert exercises.check_adjacency(normalised_adjacency)
    assert exercises.check_masked_loss(masked_joint_nll)
    assert all("Right" in text for text in said)


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda a: None, "Not tried yet"),
        (lambda a: a.numpy(), "Expected a tensor"),
        (lambda a: a[0], r"Expected shape \(4, 4\)"),
        (
            lambda a: (a + torch.eye(4)) / (a + torch.eye(4)).sum(1, keepdim=True),
            "each row by its sum",
        ),
        (lambda a: a / (a.sum(1)[:, None] * a.sum(1)).sqrt(), "keep itself"),
        (lambda a: a / a.sum(1), "a.sum\\(1\\) divides each column"),
        (lambda a: a / a.sum(1, keepdim=True), "random walk"),
        (lambda a: a + 5, "largest difference"),
    ],
)
def test_adjacency_mistakes_are_diagnosed(said, answer, diagnosis):
    import re

    assert not exercises.check_adjacency(answer)
    assert re.search(diagnosis, said[-1])


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda r, t, m: None, "Not tried yet"),
        (lambda r, t, m: ((r - t).square().sum(-1) * m).mean(), "as the public program does"),
        (lambda r, t, m: (r - t).square()[m].mean(), "two coordinates"),
        (lambda r, t, m: (r - t).norm(dim=-1)[m].mean(), "not its square"),
        (lambda r, t, m: masked_joint_nll(r, t, ~m), "wrong way round"),
        (lambda r, t, m: ((r - t).square().sum(-1) * m).sum() / 2, "number of people"),
    ],
)
def test_loss_mistakes_are_diagnosed(said, answer, diagnosis):
    assert not exercises.check_masked_loss(answer)
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda xy, f: None, "Not tried yet"),
        (lambda xy, f: xy[:, :1] + f * (xy - xy[:, :1]), "prediction aligned to truth"),
        (
            lambda xy, f: xy.mean(1, keepdims=True) + f * (xy - xy.mean(1, keepdims=True)),
            "about the mean",
        ),
        (lambda xy, f: f * xy, "corner"),
        (lambda xy, f: f * (xy - xy[:, :1]), "never added back"),
    ],
)
def test_shrink_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_shrink(answer) == (diagnosis == "prediction aligned to truth")
    assert diagnosis in said[-1]


def looked_up(covered, xy, *, rounded=np.rint, wrap=False):
    x, y = rounded(xy).T.astype(int)
    h, w = covered.shape
    inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    return covered[y, x] if wrap else covered[y.clip(0, h - 1), x.clip(0, w - 1)] & inside


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (cover, "Right"),
        (lambda v, xy, c: None, "Not tried yet"),
        (lambda v, xy, c: v, "Nothing has changed"),
        (lambda v, xy, c: np.where(looked_up(c, xy), 1, v), "nobody labelled"),
        (
            lambda v, xy, c: np.where(looked_up(c, xy, wrap=True) & (v == 2), 1, v),
            "counts from the other end",
        ),
        (
            lambda v, xy, c: np.where(looked_up(c, xy, rounded=np.floor) & (v == 2), 1, v),
            "not rounded",
        ),
        (lambda v, xy, c: np.where(looked_up(c.T, xy[:, ::-1].clip(0)) & (v == 2), 1, v), "Right"),
        (lambda v, xy, c: np.where(looked_up(c.T, xy.clip(0)) & (v == 2), 1, v), "Rows are y"),
        (lambda v, xy, c: np.where(looked_up(c, xy) & (v == 2), 0, v), "not 0"),
        (lambda v, xy, c: np.where(~looked_up(c, xy) & (v == 2), 1, v), "outside the cover"),
        (lambda v, xy, c: np.where(looked_up(c, xy, wrap=True), 1, v), "Two things: indices"),
        (lambda v, xy, c: np.where(c[tuple(xy.astype(int).T[::-1])], 1, v), "Three things"),
        (lambda v, xy, c: c[99], "raises IndexError"),
        (lambda v, xy, c: v[:3], "Expected shape"),
    ],
)
def test_cover_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_cover(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda k: 2 * (k[:, 2] > 0), "Right"),
        (lambda k: None, "Not tried yet"),
        (lambda k: k[:, 2], "would count as occluded"),
        (lambda k: np.full(len(k), 2), "they stay 0"),
        (lambda k: np.where(np.isin(np.arange(17), (3, 4)), 0, 2), "Only the ears"),
        (lambda k: np.where(k[:, 2] > 0, 0, 2), "other way round"),
    ],
)
def test_posetrack_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_posetrack_flags(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


def shifted(x, step):
    return x[(torch.arange(len(x)) + step).clamp(0, len(x) - 1)]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (
            lambda x: torch.stack((x - shifted(x, -1), shifted(x, 1) - 2 * x + shifted(x, -1))),
            "Right",
        ),
        (lambda x: None, "Not tried yet"),
        (lambda x: torch.diff(x, dim=0), "Expected shape"),
        (
            lambda x: torch.stack((shifted(x, 1) - x, shifted(x, 1) - 2 * x + shifted(x, -1))),
            "looks ahead",
        ),
        (
            lambda x: torch.stack((x - x.roll(1, 0), x.roll(-1, 0) - 2 * x + x.roll(1, 0))),
            "ends meet",
        ),
        (
            lambda x: torch.stack((shifted(x, -1) - x, 2 * x - shifted(x, 1) - shifted(x, -1))),
            "sign is turned",
        ),
    ],
)
def test_motion_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_motion(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


def choose(final, refined, truth, *, teach=torch.Tensor.detach, swap=False):
    better = ((final - truth).abs() < (refined - truth).abs()) ^ swap
    return torch.where(better, (refined - teach(final)).abs(), (final - teach(refined)).abs())


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (choose, "Right"),
        (lambda f, r, t: None, "Not tried yet"),
        (lambda f, r, t: choose(f, r, t, teach=lambda x: x), "detach the one that teaches"),
        (lambda f, r, t: choose(f, r, t, swap=True), "wrong one learns"),
        (lambda f, r, t: choose(f, r, t).detach(), "Nobody learns"),
        (lambda f, r, t: choose(f, r, t).square(), "squared"),
        (lambda f, r, t: choose(f, r, t).mean(), "Expected shape"),
    ],
)
def test_online_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_online(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


def gate(feature, mask):
    return feature * mask[:, None]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda x, p: gate(x, torch.where(p >= 0.5, 1.0, 0.01)), "Right"),
        (lambda x, p: None, "Not tried yet"),
        (lambda x, p: gate(x, torch.where(p < 0.5, 1.0, 0.01)), "as printed"),
        (lambda x, p: gate(x, torch.where(p > 0.5, 1.0, 0.01)), ">= and not >"),
        (lambda x, p: gate(x, (p >= 0.5).float()), "multiplied by 0"),
        (lambda x, p: gate(x, (p > 0.5).float()), "gets 0; and 0.5"),
        (lambda x, p: gate(x, (p < 0.5).float()), "by 0 instead"),
        (lambda x, p: 0 * x, "no joint passes"),
        (lambda x, p: gate(x, p), "makes 0.01 or 1"),
        (lambda x, p: gate(x, torch.where(p.sigmoid() >= 0.5, 1.0, 0.01)), "second sigmoid"),
        (lambda x, p: torch.where(p >= 0.5, 1.0, 0.01)[:, None].expand_as(x), "mask alone"),
        (lambda x, p: torch.where(p >= 0.5, 1.0, 0.01), "Expected shape"),
        (lambda x, p: x, "Nothing is masked"),
    ],
)
def test_mask_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_mask(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda a, h: a[..., h].sum(-1).mean(), "Right"),
        (lambda a, h: (a * h).sum() / a.sum(), "Right"),
        (lambda a, h: None, "Not tried yet"),
        (lambda a, h: a[:, h].sum() / a.sum(), "Columns answer"),
        (lambda a, h: a[..., ~h].sum(-1).mean(), "visible joints receive"),
        (lambda a, h: a[..., h].mean(), "adds them up"),
        (lambda a, h: a[..., h].sum(), "over heads and joints"),
        (lambda a, h: a[..., h].sum((1, 2)).mean(), "take their mean"),
        (lambda a, h: a[0][:, h].sum(-1).mean(), "first head"),
        (lambda a, h: a[:, ~h][..., h].sum(-1).mean(), "Only the visible joints ask"),
        (lambda a, h: a[..., h].sum(-1).mean(0), "Expected shape"),
    ],
)
def test_share_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_hidden_share(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda x: x[2] + x[1] / 2 + x[0] / 3, "Right"),
        (lambda x: None, "Not tried yet"),
        (lambda x: x[2] + x[3] / 2 + x[4] / 3, "looks back"),
        (lambda x: x[2] + (x[1] + x[3]) / 2, "close flow"),
        (lambda x: x[:3].sum(0), "not penalised: each"),
        (lambda x: x[2] + x[1] + x[0] / 2, "by d + 1"),
        (lambda x: x[2] + x[1] / 3 + x[0] / 2, "nearer frame weighs less"),
        (lambda x: x[1] / 2 + x[0] / 3, "key frame is missing"),
        (lambda x: (x[2] + x[1] / 2 + x[0] / 3) / 3, "mean of the three"),
        (lambda x: x[:3].mean(0), "a sum and no mean"),
        (lambda x: x.mean(0), "mean of all five"),
        (lambda x: x.sum(0), "total flow"),
        (lambda x: x[2:3], "Expected shape"),
    ],
)
def test_flow_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_flow(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


def _verdict(helps, harms):
    return lambda low, high: (
        "helps" if helps(low, high) else "harms" if harms(low, high) else "not shown"
    )


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (_verdict(lambda low, high: low > 0, lambda low, high: high < 0), "Right"),
        (lambda low, high: None, "Not tried yet"),
        (
            _verdict(lambda low, high: low + high > 0, lambda *_: True),
            "from -1 to 2 it says 'helps'",
        ),
        (_verdict(lambda low, high: low >= 0, lambda low, high: high < 0), "An end that is 0"),
        (
            _verdict(lambda low, high: high < 0, lambda low, high: low > 0),
            "from 1 to 3 it says 'harms'",
        ),
    ],
)
def test_verdict_mistakes_name_the_interval(said, answer, diagnosis):
    assert exercises.check_verdict(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda f, t: f * t.sum(0), "Right"),
        (lambda f, t: f * t.sum(0, keepdim=True), "Right"),
        (lambda f, t: None, "Not tried yet"),
        (lambda f, t: f * t, "its own total flow"),
        (lambda f, t: f * f.sum(0), "sums the flow itself"),
        (lambda f, t: f * t.mean(0), "mean over the joints"),
        (lambda f, t: f * f.mean(0), "no mean, and it is of the total"),
        (lambda f, t: f * t.sum((1, 2))[:, None, None], "sums over pixels"),
        (lambda f, t: f + t.sum(0), "multiplies them"),
        (lambda f, t: t * t.sum(0), "mask of the total flow"),
        (lambda f, t: t.sum(0), "Expected shape"),
    ],
)
def test_occlusion_mask_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_occlusion_mask(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda x, k, t: 1 / (1 + (-k * (x.abs() - t)).exp()), "Right"),
        (lambda x, k, t: None, "Not tried yet"),
        (lambda x, k, t: 1 / (1 + (-k * (x - t)).exp()), "both signs count"),
        (lambda x, k, t: 1 / (1 + (-k * (x - t).abs()).exp()), "around x alone"),
        (lambda x, k, t: 1 / (1 + (k * (x.abs() - t)).exp()), "exponent's sign"),
        (lambda x, k, t: 1 / (1 + (-k * (x.abs() + t)).exp()), "theta is subtracted"),
        (lambda x, k, t: 1 / (1 + (-k * x.abs() + t).exp()), "whole bracket"),
        (lambda x, k, t: (k * x - t).sigmoid(), "lacks two things"),
        (lambda x, k, t: 1 / (1 + (t - x.abs()).exp()), "slope k is missing"),
        (lambda x, k, t: 1 / (1 + (-k * x.abs()).exp()), "theta is missing"),
        (lambda x, k, t: 1 / (1 + (-t * (x.abs() - k)).exp()), "are exchanged"),
        (lambda x, k, t: 1 / (1 + (-k * (x**2 - t)).exp()), "squared"),
        (lambda x, k, t: 1 / (1 + (k * (x - t)).exp()), "Two things"),
        (lambda x, k, t: k * (x.abs() - t), "This is the exponent"),
        (lambda x, k, t: x.abs().mean(), "Expected shape"),
    ],
)
def test_modified_sigmoid_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_modified_sigmoid(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


@pytest.mark.parametrize(
    ("answer", "diagnosis"),
    [
        (lambda a, b, f, t, n: a + (t - f) / (n - f) * (b - a), "Right"),
        (lambda a, b, f, t, n: None, "Not tried yet"),
        (lambda a, b, f, t, n: ((t - f) * a + (n - t) * b) / (n - f), "Shares are exchanged"),
        (lambda a, b, f, t, n: (a + b) / 2, "the middle"),
        (lambda a, b, f, t, n: a + t / n * (b - a), "not from 0"),
        (lambda a, b, f, t, n: a + t / (n - f) * (b - a), "key - first, not key"),
        (lambda a, b, f, t, n: a + (t - f) * (b - a), "not divided"),
        (lambda a, b, f, t, n: a + (t - f) // (n - f) * (b - a), "cuts every share"),
        (lambda a, b, f, t, n: a if t - f < n - t else b, "nearer label; the pose"),
        (lambda a, b, f, t, n: a + (t - f) / (n - f - 1) * (b - a), "one too few"),
        (lambda a, b, f, t, n: a + (t - f) / (n - f + 1) * (b - a), "one too many"),
        (lambda a, b, f, t, n: a - (t - f) / (n - f) * (b - a), "walks away"),
        (lambda a, b, f, t, n: (t - f) / (n - f) * (b - a), "add it to"),
        (lambda a, b, f, t, n: a[0], "Expected shape"),
    ],
)
def test_line_mistakes_are_diagnosed(said, answer, diagnosis):
    assert exercises.check_line(answer) == (diagnosis == "Right")
    assert diagnosis in said[-1]


def test_the_failing_input_is_named_with_expected_and_got(said):
    exercises.check_cover(lambda flags, xy, covered: np.where(flags == 2, 1, flags))
    text = said[-1]
    head = "|  | flags | xy | covered | expected | got |"
    assert head in text and "| [4] | 2 | [1., 3.] | 5 × 9 | 2. | 1. |" in text
    assert "| [0] |" not in text  # what is right is not in the table


def test_matrices_that_differ_are_pictures(said, monkeypatch):
    drawn = []
    monkeypatch.setattr(exercises, "_pictured", lambda *pair: drawn.append(pair))
    exercises.check_adjacency(lambda a: a / a.sum(1))
    exercises.check_adjacency(normalised_adjacency)
    ((expected, got),) = drawn
    assert np.allclose(expected[0], [0.5, 8**-0.5, 0, 0], atol=1e-6) and np.isclose(
        got[0, 1], 1 / 3
    )


def test_the_picture_holds_expected_got_and_the_difference(monkeypatch):
    sheets = []
    monkeypatch.setattr(paper, "map_grid", lambda *grid, **look: sheets.append(grid) or Quiet())
    one, two = np.eye(2), np.ones((2, 2))
    exercises._pictured(one, two)
    exercises._pictured(one[0], two[0])
    ((grids, captions),) = sheets
    assert np.array_equal(grids, [one, two, two - one])
    assert captions == ["expected", "got", "got - expected"]


class Quiet:
    def show(self):
        pass


class Counter(Explorer):
    """Counts to where its control stands."""

    def declare(self):
        return [number("n", 3, 9)]

    def compute(self, state):
        return 2.0 * state["n"]

    def draw(self, state, found):
        return {"one": [[Bars("", "", [Bar("a", found, "ours")])]]}

    def say(self, state, found):
        return str(found)

    def asks(self):
        return ({"n": n} for n in (1, 3))


def test_a_goal_follows_the_explorer_and_stands_in_its_page():
    explorer = Counter(skeleton("coco17"), name="counter")
    assert explorer.goal == ""
    shown = exercises.goal(explorer, "Count down.", lambda s, found: found, reach=4.0)
    assert shown is explorer
    assert explorer.goal == "Exercise: Count down. Now 6.00 px, the goal: at most 4 px. Not yet."
    explorer.choose(n=2)
    assert "Now 4.00 px" in explorer.goal and explorer.goal.endswith("Reached.")
    kept = {answer["state"]["n"]: answer["goal"] for answer in explorer.kept()["values"]["stored"]}
    assert kept[1].endswith("Reached.") and kept[3].endswith("Not yet.")
    exercises.goal(explorer, "Up.", lambda s, found: found, reach=5.0, higher=True, unit="%")
    assert "at least 5 %. Not yet." in explorer.goal
    exercises.goal(
        explorer, "Up.", lambda s, found: found, reach=2.75, higher=True, why="So it is."
    )
    assert explorer.goal.endswith("at least 2.75 px. Reached. So it is.")
    told = {"higher": True, "why": lambda state, found: f"It is {found}."}
    exercises.goal(explorer, "Up.", lambda s, found: found, reach=2.75, **told)
    assert re.search(r"Reached. It is 4(.0)?\.$", explorer.goal)
    exercises.goal(explorer, "Up.", lambda s, found: np.nan, reach=5.0)
    assert "Nothing to measure here" in explorer.goal
    exercises.goal(explorer, "Up.", lambda s, found: np.nan, reach=5.0, counts="only a")
    assert "Up. Not counted: only a. The goal:" in explorer.goal


def test_every_mistake_has_words_and_all_words_a_mistake(monkeypatch):
    named = {}

    def note(exercise, answer, expected, wrong, inputs=None):
        named.setdefault(exercise, set()).update(wrong)
        return False

    monkeypatch.setattr(exercises, "_compare", note)
    for name, check in vars(exercises).items():
        if name.startswith("check_"):
            check(lambda *inputs: None)
    exercises.check_online(lambda f, r, t: (f - r).abs())
    assert named == {exercise: set(words) for exercise, words in exercises.WORDS.items()}
    texts = [text for words in exercises.WORDS.values() for text in words.values()]
    assert len(set(texts)) == len(texts)
