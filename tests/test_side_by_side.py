"""All methods get the same input, labels are told to one row alone, and the choice follows from
the rows.
"""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from workbench import cli, side_by_side
from workbench.errors import UnknownName
from workbench.made.worlds import WORLDS, sample_clip
from workbench.measured import rows_file
from workbench.side_by_side import (
    APART,
    COST,
    HARMS,
    HELPS,
    HIDDEN,
    LEVELS,
    LINE,
    METHODS,
    MIDDLE,
    OPEN,
    SHOWN,
    SINGLE,
    SITUATIONS,
    STAY,
    TOLD,
    VIEWS,
    VISIBLE,
    WORLD,
    People,
)


@pytest.fixture(scope="module")
def people():
    return People.of(
        (made.clip, made.frames) for made in (sample_clip(WORLD, "test", i) for i in range(2))
    )


@pytest.fixture(scope="module")
def models():
    return side_by_side.predictors("cpu")


@pytest.fixture(scope="module")
def found(people, models):
    return side_by_side.answers(people, models)


# --- the same for all


def test_the_world_is_the_frozen_one_made_longer():
    frozen = WORLDS["passing_people"]
    changed = {"name", "n_frames", "label_stride", "label_first"}
    assert {k for k, v in vars(WORLD).items() if v != getattr(frozen, k)} == changed
    assert (WORLD.digest(), frozen.digest()) == ("ffa5b8a46ed69062", "0dc778e0ff28331b")


def test_the_shared_joints_are_twelve_limbs():
    names = side_by_side.shared_joints()
    limbs = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    assert names == tuple(f"{side}_{limb}" for limb in limbs for side in ("left", "right"))
    assert len(side_by_side.shared_skeleton().edges) == 12


def test_everybody_in_the_middle_frame_is_asked_about_once(people):
    asked = people.asked("coco17")
    assert [len(each) for each in asked] == np.bincount([p for p, _ in people.people_of]).tolist()
    boxes = np.concatenate([each.boxes_xyxy for each in asked])
    assert np.array_equal(boxes, people.truth.boxes_xyxy)
    assert all((each.frames == MIDDLE).all() for each in asked)


def _spied(models, calls):
    """The same predictors, which also note what they are given."""

    def spy(name, method, what):
        own = getattr(models[name], method)

        def noted(*given, **options):
            calls.setdefault(name, []).append(what(*given, **options))
            return own(*given, **options)

        setattr(spied[name], method, noted)

    spied = {name: copy(model) for name, model in models.items()}

    def picture(frames, boxes, **_):
        return frames.reshape(-1, *frames.shape[-3:]), boxes

    for name in (SINGLE, "VisSimCC", "OTPose", "OTPose's single frame"):
        spy(name, "estimate", picture)
    spy("HANet", "refine", lambda xy, **_: xy)
    for name in ("STDPose", "STDPose's single frame"):
        spy(name, "carry", lambda windows, given, **_: (windows, given))
    return spied


def test_all_see_the_same_picture_in_the_same_box(people, models, found):
    calls = {}
    again = side_by_side.answers(people, _spied(models, calls))
    assert all(np.array_equal(again[name], xy) for name, xy in found.items())
    boxes = people.truth.boxes_xyxy
    middles = [frames[MIDDLE] for _, frames in people.pairs]
    for name in ("VisSimCC", "OTPose", "OTPose's single frame"):
        assert len(calls[name]) == len(middles)
        assert np.array_equal(np.concatenate([b for _, b in calls[name]]), boxes)
        assert all(np.array_equal(p[len(p) // 2], m) for (p, _), m in zip(calls[name], middles))
    read = {frames.tobytes(): b for frames, b in calls[SINGLE]}  # in every frame
    assert len(calls[SINGLE]) == 2 * WORLD.n_frames
    assert np.array_equal(np.concatenate([read[m.tobytes()] for m in middles]), boxes)
    for name in ("STDPose", "STDPose's single frame"):
        for windows, _ in calls[name]:
            assert np.array_equal(windows.boxes(), boxes)
            frames = [windows.frames_of(i).tolist() for i in range(len(windows))]
            assert frames == [[MIDDLE - APART, MIDDLE, MIDDLE + APART]] * len(boxes)
    assert [given for _, given in calls["STDPose"]] == [False, True]
    assert [given for _, given in calls["STDPose's single frame"]] == [False]


def test_refiners_read_the_joints_of_the_single_frame(people, models, found):
    calls = {}
    side_by_side.answers(people, _spied(models, calls))
    said = side_by_side.single_frames(models[SINGLE], people)
    tracks = [clip.select(clip.tracks == t) for clip in said for t in sorted(set(clip.tracks))]
    wrists = [models["HANet"].skeleton.index("left_wrist"), 9]
    read = {xy[:, wrists[0]].astype(np.float32).tobytes() for xy in calls["HANet"] if len(xy) > 1}
    given = {t.xy_frame[:, wrists[1]].tobytes() for t in tracks if len(t) == WORLD.n_frames}
    assert given and given <= read
    # a PORT that replaces nothing gives the single frame's joints back, in their order
    port = copy(models["PORT"])
    port.rule = replace(port.rule, margin=1.0)
    kept = side_by_side.answers(people, {**models, "PORT": port})
    assert np.array_equal(kept["PORT"], found[SINGLE])


def test_labels_of_other_frames_are_told_to_one_row_and_its_rival_alone(people, models, found):
    pairs = []
    for clip, frames in people.pairs:
        tracks = []
        for track in clip.tracks:
            xy = track.xy_frame.copy()
            xy[[MIDDLE - APART, MIDDLE + APART]] += 40 * (
                track.visibility[[MIDDLE - APART, MIDDLE + APART], :, None] > 0
            )
            tracks.append(replace(track, xy_frame=xy))
        pairs.append((replace(clip, tracks=tracks), frames))
    other = side_by_side.answers(People.of(pairs), models)
    changed = {name for name, xy in found.items() if not np.array_equal(xy, other[name])}
    assert changed == {TOLD, LINE}


# --- rows


def test_truth_hits_everything_and_subsets_are_what_they_say(people):
    columns = side_by_side.shared_columns(people.truth.skeleton)
    truth = people.truth.xy_frame[:, columns]
    far = truth + people.truth.boxes_xyxy[:, None, 2:3]
    answers = dict.fromkeys(METHODS, truth) | dict.fromkeys(side_by_side.OWN, far)
    lines = side_by_side.measured(people, answers)
    for line in lines:
        own = line["method"] in METHODS
        assert not line["n"] or line["metrics"]["PCK"] == (100 if own else 0)
        assert not line["n"] or (line["metrics"]["error"] == 0) == own
    counts = {line["subset"]: line["n"] for line in lines}
    assert counts[HIDDEN] == (people.flags == 1).sum() == sum(counts[name] for name in SHOWN)
    assert counts[VISIBLE] + counts[HIDDEN] == counts["all joints"]
    assert sum(counts[name] for name in side_by_side.LEVELS) == counts["all joints"]
    against = side_by_side.line_of(lines, "OTPose", HIDDEN)["against"]
    assert against["OTPose's single frame"]["PCK"]["difference"] == 100


def test_near_frames_show_what_they_show(people):
    row = side_by_side.most_hidden(people)
    pair, track = people.people_of[row]
    flags = people.pairs[pair][0].tracks[track].visibility
    wrist = people.truth.skeleton, side_by_side.shared_joints().index("left_wrist")
    column = side_by_side.shared_columns(wrist[0])[wrist[1]]
    others = [MIDDLE - 2, MIDDLE - 1, MIDDLE + 1, MIDDLE + 2]
    assert people.shown[row, wrist[1]] == (flags[others, column] == 2).sum()


def test_tables_and_charts_say_what_rows_say(people, found):
    lines = side_by_side.measured(people, found)
    table = side_by_side.table_of(lines, (VISIBLE, HIDDEN))
    assert [row["joints"] for row in table] == [VISIBLE] * len(found) + [HIDDEN] * len(found)
    line = side_by_side.line_of(lines, "OTPose", HIDDEN)
    row = next(r for r in table if (r["method"], r["joints"]) == ("OTPose", HIDDEN))
    assert row["PCK"] == line["metrics"]["PCK"]
    start = line["against"]["OTPose's single frame"]["PCK"]["difference"]
    assert row["PCK, against its start"].startswith(f"{start:+.1f} [")
    brief = {r["method"]: r for r in side_by_side.summary(lines)}
    assert [*brief] == [*METHODS] and brief["OTPose"]["hidden: PCK"] == row["PCK"]
    assert brief["OTPose"]["hidden: PCK, against its start"] == row["PCK, against its start"]
    change = side_by_side.change_of(line)
    assert change == line["paired"]["PCK"]
    assert change["interval"][0] <= change["difference"] <= change["interval"][1]
    assert side_by_side.change_of(side_by_side.line_of(lines, SINGLE, HIDDEN)) is None


# --- pictures


def test_pictures_show_the_answers_of_one_person(people, found):
    person = side_by_side.most_hidden(people)
    chosen = {name: found[name] for name in side_by_side.FIVE}
    panels = side_by_side.panels(people, chosen, person)
    assert [panel.title for panel in panels] == [*side_by_side.FIVE]
    assert len({panel.people[1].role for panel in panels}) == len(panels), "a colour each"
    for panel, xy in zip(panels, chosen.values()):
        _, answer = panel.people
        seen = people.flags[person] > 0
        assert (
            np.array_equal(answer.xy[seen], xy[person][seen]) and np.isnan(answer.xy[~seen]).all()
        )
    px = side_by_side.errors(people, chosen, person)
    truth, answer = (each.xy for each in panels[0].people)
    assert px[SINGLE] == pytest.approx(np.nanmean(np.linalg.norm(answer - truth, axis=-1)))


def test_a_hidden_joint_is_asked_about_and_nothing_shows_where_it_is(people, found):
    person = side_by_side.most_hidden(people)
    joint, truth, places, hit = side_by_side.asked_joint(people, found, person)
    j = side_by_side.shared_joints().index(joint)
    assert people.flags[person, j] == 1 and people.shown[person, j] > 0
    asked = side_by_side.asked(people, person)
    ((drawn,), marks) = asked.people[0].xy[None], asked.people[0].marks
    assert np.array_equal(drawn[j], truth)
    assert ((marks > 0) == (people.flags[person] == 2)).all(), "visible joints alone are drawn"
    names = np.array(side_by_side.shared_joints())[marks > 0]
    few = len(names) <= side_by_side.FEW
    said = [f"{name.replace('_', ' ')}, visible" for name in names] if few else []
    assert [note["words"] for note in asked.notes] == said, "or they look like the answer"
    x0, y0, x1, y1 = asked.bounds
    assert x0 < truth[0] < x1 and y0 < truth[1] < y1, "it can be pressed"
    # the single frame misses none of those that could be asked about by more
    own = side_by_side.shared_columns(people.truth.skeleton)
    away = np.linalg.norm(found[SINGLE][person] - people.truth.xy_frame[person, own], axis=-1)
    could = (people.flags[person] == 1) & (people.shown[person] > 0)
    assert away[j] == away[could].max() and SINGLE in places
    same = [n for n in found if np.array_equal(found[n][person, j], found[SINGLE][person, j])]
    assert places.keys() == found.keys() - {*same} | {SINGLE}
    width, height = np.ptp(people.truth.boxes_xyxy[person].reshape(2, 2), 0)
    assert hit == pytest.approx(0.05 * max(width, height))


def test_the_stage_plays_every_method_s_answer(people, models, found):
    person = side_by_side.most_hidden(people)
    stage = side_by_side.stage(people, models, person)
    played = stage.compute(stage.state)
    assert [*played.answers] == [*side_by_side.FIVE]
    assert all(xy.shape == (WORLD.n_frames, 1, 12, 2) for xy in played.answers.values())
    # in the middle frame it is the chapter's answer, counted from the crop's corner
    away = played.answers[SINGLE][MIDDLE, 0] - found[SINGLE][person]
    assert np.allclose(away, away[0], atol=1e-3) and (away[0] <= 0).all()
    moved = played.answers["OTPose"][MIDDLE, 0] - found["OTPose"][person]
    assert np.allclose(moved, away[0], atol=1e-3)
    assert "paint" not in stage.verdict and "OTPose" in stage.verdict
    # the middle frame is asked about: it is bare until the reader opens it
    ((*pictures, curve),) = stage.draw(stage.state, played)["stage"]
    assert stage.verdict.endswith(f"without frame {MIDDLE}")
    for line in curve.lines:
        assert np.isnan(line.y).nonzero()[0].tolist() == [MIDDLE]
    for shown in (one for picture in pictures for one in picture.people):
        assert not shown.at(MIDDLE)[1].any() and shown.at(MIDDLE - 1)[1].any()
    stage.choose(open=True)
    assert "without" not in stage.verdict and stage.say(stage.state, played) == stage.verdict
    ((*pictures, curve),) = stage.draw(stage.state, played)["stage"]
    assert all(np.isfinite(line.y).all() for line in curve.lines)
    assert all(picture.click.control == "error of" for picture in pictures)
    assert [picture.title for picture in pictures] == [SINGLE, "OTPose"]
    # who lies on the single frame in all frames has no curve, but a name in the title
    px = stage.distances(played.answers, "all joints")
    same = [who for who in side_by_side.FIVE[1:] if np.array_equal(px[who], px[SINGLE], True)]
    assert [line.name for line in curve.lines] == [f for f in side_by_side.FIVE if f not in same]
    assert all(who in curve.title for who in same) and ("on the line" in curve.title) == bool(same)
    lying = replace(played, answers={**played.answers, "HANet": played.answers[SINGLE]})
    ((*pictures, curve),) = stage.draw({**stage.state, "beside it": "HANet"}, lying)["stage"]
    assert [picture.title for picture in pictures] == [SINGLE, "HANet"]
    assert "HANet" not in [line.name for line in curve.lines]
    chosen = {"beside it": "HANet", "error of": "left_knee", "open": True}
    assert chosen in [*stage.asks()]
    ((_, panel, _),) = stage.draw({**stage.state, **chosen}, played)["stage"]
    marked, j = panel.people[-1], stage.kin.index("left_knee")
    assert marked.name == "left knee" and np.isnan(np.delete(marked.xy, j, 2)).all()
    assert np.array_equal(marked.xy[:, :, j], played.answers["HANet"][:, :, j], equal_nan=True)


# --- when to take which


def _pair(low, high):
    return {"PCK": {"difference": (low + high) / 2, "interval": [float(low), float(high)]}}


def made_rows(**hidden):
    """Rows in which nothing is shown, but for hidden joints of the methods that are named: the ends
    of their intervals against whomever.
    """
    lines = []
    for name, method in METHODS.items():
        for subset in (VISIBLE, HIDDEN, *LEVELS, *SHOWN):
            ends = hidden.get(name, (-1, 1)) if subset == HIDDEN else (-1, 1)
            line = {"method": name, "subset": subset, "metrics": {"PCK": 50 + sum(ends) / 2}}
            if method.base:
                line |= {"paired": _pair(*ends), "against": {method.base: _pair(*ends)}}
            lines.append(line)
    return lines


def taken(lines):
    return [row["take"] for row in side_by_side.choices(lines)]


def test_where_nothing_is_shown_nothing_is_taken():
    assert taken(made_rows()) == [STAY] * len(SITUATIONS)
    # an interval that ends at 0 shows nothing
    assert taken(made_rows(PORT=(0, 5))) == [STAY] * len(SITUATIONS)


def test_the_choice_follows_the_rows():
    lines = made_rows(PORT=(1, 2), OTPose=(3, 9))
    assert taken(lines) == ["PORT", "PORT", "PORT", "OTPose", "OTPose"]
    # the higher lower end counts, not the higher middle
    assert taken(made_rows(PORT=(4, 5), OTPose=(3, 90)))[3] == "PORT"
    # who needs labels is no choice without them
    assert taken(made_rows(**{TOLD: (1, 2)})) == [STAY] * 4 + [TOLD]
    others = side_by_side.choices(lines)[3]
    gain = others["hidden joints against the single frame, PCK"]
    assert others["helps, too"] == "PORT" and gain == "+6.0 [+3.0, +9.0]"


def test_the_straight_line_is_a_choice_of_its_own():
    assert taken(made_rows(**{LINE: (3, 4), TOLD: (1, 2)})) == [STAY] * 4 + [LINE]
    # who is not shown to be better than what he goes on from, has that beside him
    lines = made_rows(**{LINE: (1, 9), TOLD: (2, 9)})
    assert side_by_side.choices(lines)[-1]["or, no difference shown"] == "", "better than the line"
    side_by_side.line_of(lines, TOLD, HIDDEN)["against"] = {LINE: _pair(-1, 1)}
    assert side_by_side.choices(lines)[-1]["or, no difference shown"] == LINE
    # but not where the line harms visible joints by more than is accepted
    side_by_side.line_of(lines, LINE, VISIBLE)["paired"] = _pair(-9, -5)
    row = side_by_side.choices(lines)[-1]
    assert (row["take"], row["or, no difference shown"]) == (TOLD, "")
    row = side_by_side.choices(lines, harm=5)[-1]  # its interval ends at -5: not shown to be more
    assert (row["take"], row["or, no difference shown"]) == (TOLD, LINE)


def test_who_harms_visible_joints_is_no_choice():
    lines = made_rows(HANet=(5, 9))
    assert taken(lines)[1] == "HANet"
    side_by_side.line_of(lines, "HANet", VISIBLE)["paired"] = _pair(-3, -1)
    row = side_by_side.choices(lines)[1]
    assert row["take"] == STAY
    assert row["helps hidden joints, but harms visible ones"] == "HANet"
    assert side_by_side.choices(lines, harm=0.9)[1]["take"] == STAY
    assert side_by_side.choices(lines, harm=1)[1]["take"] == "HANet"


def test_what_you_have_and_ask_decide_whom_the_explorer_takes():
    lines = made_rows(OTPose=(3, 9), HANet=(5, 9))
    side_by_side.line_of(lines, "HANet", VISIBLE)["paired"] = _pair(-3, -1)
    for name in METHODS:  # of which readers see both ends
        side_by_side.line_of(lines, name, HIDDEN)["metrics"]["PCK"] = 45 if name == SINGLE else 51
    explorer = side_by_side.Choice(lines)
    assert "take OTPose. Hidden joints, PCK: 45.0 → 51.0 (+6.0 [+3.0, +9.0])" in explorer.verdict
    assert "Too dear at visible joints: HANet" in explorer.verdict

    accepted = []

    def bars():
        shown = explorer.draw(explorer.state, None)["choice"]
        assert len({panel.range for (panel,) in shown}) == 1, "one scale"
        accepted.append([panel.limit for (panel,) in shown])
        return [{bar.label.removeprefix("take "): bar for bar in panel.bars} for (panel,) in shown]

    hidden, visible = bars()
    assert [hidden[name].mark for name in ("OTPose", "HANet", "PORT")] == ["✓", "✓", "·"]
    assert hidden["OTPose"].label == "take OTPose" and hidden["OTPose"].ends == (3, 9)
    assert visible["HANet"].mark == "✕" and hidden["OTPose"].value == 6
    assert accepted[-1] == [None, 0] and hidden["HANet"].role == visible["HANet"].role == "none"
    score = side_by_side.price(explorer, "HANet")
    assert np.isnan(score(explorer.state, None)), "the rule does not take it"
    explorer.choose(harm=1)
    assert "take HANet" in explorer.verdict and score(explorer.state, None) == 0
    assert bars()[0]["HANet"].role == METHODS["HANet"].role and accepted[-1] == [None, -1]
    explorer.choose(harm=4)
    assert score(explorer.state, None) == 3, "more than it takes"
    explorer.choose(**{"you have": "one picture"})
    assert "stay with what you have" in explorer.verdict and "OTPose" not in explorer.verdict
    assert bars()[0].keys() == {"PORT", "VisSimCC"}, "who can be used"
    explorer.choose(**{"you have": "a video", "show": list(VIEWS)[-1]})
    labels = [bar.label for (p,) in explorer.draw(explorer.state, None)["choice"] for bar in p.bars]
    assert "HANet" in labels and not any("take" in label for label in labels), "of no rule"
    assert [
        p.title.partition(":")[0] for (p,) in explorer.draw(explorer.state, None)["choice"]
    ] == [*SHOWN]
    lines = made_rows(**{LINE: (3, 9), TOLD: (4, 8)})
    side_by_side.line_of(lines, TOLD, HIDDEN)["against"] = {LINE: _pair(-2, 4)}
    explorer = side_by_side.Choice(lines, state={"you have": list(SITUATIONS)[-1]})
    assert f"take {TOLD}, or the {LINE}. " in explorer.verdict
    assert f"Against the {LINE}: +1.0 [-2.0, +4.0], {OPEN}." in explorer.verdict
    names = "you have", "harm", "show"
    asked = {tuple(each[name] for name in names) for each in explorer.questions()}
    harms = side_by_side.MOST_HARM + 1
    assert len(asked) == len(SITUATIONS) * harms * len(VIEWS), "a page holds every answer"


def test_who_answers_as_the_single_frame_has_a_sentence_and_no_bar():
    lines = made_rows(PORT=(0, 0))
    side_by_side.line_of(lines, "PORT", VISIBLE)["paired"] = _pair(0, 0)
    explorer = side_by_side.Choice(lines)
    ((panel,), _) = explorer.draw(explorer.state, None)["choice"]
    assert "PORT" not in [bar.label for bar in panel.bars]
    assert explorer.notes == "PORT: 0, replaces nothing here."
    other = side_by_side.Choice(made_rows(PORT=(0, 0)))  # it moves visible ones
    ((panel,), _) = other.draw(other.state, None)["choice"]
    assert "PORT" in [bar.label for bar in panel.bars] and not other.notes


def test_the_examples_are_read_as_the_rule_reads():
    for bar in side_by_side.examples().bars:
        low, high = bar.ends
        said = {"✓": low > 0, "✕": high < 0, "·": low <= 0 <= high}
        assert said[bar.mark] and low < bar.value < high


def test_the_exercise_is_done_by_the_least_harm_that_takes_hanet_in_the_shipped_rows():
    shipped = json.loads(rows_file("side_by_side").read_text(encoding="utf-8"))
    bench = side_by_side.Choice(shipped["rows"])
    score = side_by_side.price(bench, "HANet")
    scores = [score({**bench.state, **change}, None) for change in bench.asks()]
    visible = side_by_side.line_of(shipped["rows"], "HANet", VISIBLE)
    least = int(np.ceil(-side_by_side.change_of(visible)["interval"][1]))
    assert np.nanmin(scores) == 0 and np.isnan(score(bench.state, None))
    harms = [harm for (_, harm), row in bench.rows.items() if row["take"] == "HANet"]
    assert min(harms) == least == 14


def test_the_question_shows_the_intervals_and_withholds_the_names():
    bench = side_by_side.Choice(made_rows(OTPose=(3, 9)))
    letters, asked, named = side_by_side.veiled(bench)
    assert set(letters.values()) == {"PORT", "HANet", "VisSimCC", "OTPose", "STDPose"}
    for blind, told in zip(asked, named):
        for (letter, name), bar, real in zip(letters.items(), blind.bars, told.bars):
            assert bar.label.split()[0] == letter and name in real.label and bar.role == "soft"
            assert not bar.mark, "which verdict it gets is asked"
            assert bar.ends == real.ends and name not in bar.label


def test_the_overview_says_what_each_learned_from_and_what_its_rows_say():
    lines = made_rows(OTPose=(3, 9), STDPose=(2, 3), PORT=(0, 0))
    side_by_side.line_of(lines, "STDPose", HIDDEN)["paired"] = _pair(-1, 2)
    rows = {row["method"]: row for row in side_by_side.overview(lines)}
    assert rows["OTPose"][f"{HIDDEN}, points"] == "✓ +6.0"
    assert rows["OTPose"][f"{VISIBLE}, points"] == "· +0.0"
    assert rows["STDPose"][f"{HIDDEN}, points"] == "· +0.5"
    assert rows["PORT"][f"{HIDDEN}, points"] == "0, replaces nothing"
    assert (rows["OTPose"]["this picture"], rows["OTPose"]["labels"]) == ("✓", "")
    assert (rows["HANet"]["joints of other frames"], rows["HANet"]["this picture"]) == ("✓", "")
    assert all(row["learned from"] for row in rows.values()) and SINGLE not in rows


def test_a_gain_over_its_own_start_alone_is_no_choice():
    lines = made_rows(STDPose=(2, 3))
    assert taken(lines)[3] == "STDPose"
    side_by_side.line_of(lines, "STDPose", HIDDEN)["paired"] = _pair(-1, 2)
    assert taken(lines)[3] == STAY


def test_verdicts_are_of_whole_intervals():
    lines = made_rows(PORT=(0.1, 4), HANet=(-4, -0.1), VisSimCC=(-0.1, 9))
    start = f"{HIDDEN}, against that"
    said = {row["method"]: row[start] for row in side_by_side.judged(lines)}
    assert [said[name] for name in ("PORT", "HANet", "VisSimCC")] == [HELPS, HARMS, OPEN]
    with pytest.raises(UnknownName):
        side_by_side.line_of(lines, "PORT", "no such joints")


# --- the command


def test_the_command_measures_everything(tmp_path):
    file = tmp_path / "rows.json"
    asked = ["side-by-side", "--clips", "2", "--seconds", "0.1", "--json", str(file)]
    done = CliRunner().invoke(cli.app, asked)
    assert done.exit_code == 0, done.output
    result = json.loads(file.read_text())
    costs = {r["method"]: r["metrics"] for r in result["rows"] if r["subset"] == COST}
    assert costs.keys() == {*side_by_side.FIVE}
    assert costs[SINGLE]["times"] == 1 and all(c["MB"] > 0 < c["GFLOP"] for c in costs.values())
    assert costs["PORT"]["parameters"] > costs[SINGLE]["parameters"]
    assert "you have" in done.output and "a video" in done.output
