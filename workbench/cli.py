"""The `workbench` command. Errors made on purpose end as one line on stderr and exit code 2;
nothing else is caught.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import BadParameter, WorkbenchError, unknown

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The Occlusion Workbench.",
)
data_app = typer.Typer(
    no_args_is_help=True, help="Data sets and weights: list, show, fetch, verify."
)
app.add_typer(data_app, name="data")

# --- data -----------------------------------------------------------------------------------------


@data_app.command("list")
def data_list(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Every data set and weight file that has a manifest, and whether it is on this machine."""
    from rich.console import Console
    from rich.table import Table

    from .data import manifest as m
    from .errors import MissingData

    rows = []
    for found in m.manifests().values():
        try:
            place = str(m.locate(found.name)[1]) if found.layout else ""
        except MissingData:
            place = None
        row = found.model_dump(include={"name", "kind", "access", "licence", "title"})
        rows.append(row | {"present": place is not None, "place": place})
    if as_json:
        print(json.dumps({"schema_version": 1, "data": rows}, indent=1))
        return
    table = Table("name", "kind", "access", "licence", "present here?")
    for row in rows:
        place = (row["place"] or "yes, needs no files") if row["present"] else "no"
        table.add_row(row["name"], row["kind"], row["access"], row["licence"], place)
    Console().print(table)


@data_app.command("show")
def data_show(
    name: str, as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False
) -> None:
    """One manifest: licence, how to get it, files, checksums, reader."""
    import yaml

    from .data import manifest as m

    content = m.manifest(name).model_dump()
    text = (
        json.dumps(content, indent=1)
        if as_json
        else yaml.safe_dump(content, sort_keys=False, width=110)
    )
    print(text.rstrip())


def _print_checks(spec: str, checks: list, as_json: bool) -> None:
    if as_json:
        rows = [
            {"path": str(c.path), "status": c.status, "detail": c.detail, "required": c.required}
            for c in checks
        ]
        print(json.dumps({"schema_version": 1, "data": spec, "files": rows}, indent=1))
    else:
        for check in checks:
            print(
                f"{check.status:10} {check.path}" + (f"  ({check.detail})" if check.detail else "")
            )
        if not checks:
            print(f"{spec} has no files: nothing to fetch or verify")
    if any(check.bad for check in checks):
        raise typer.Exit(1)


@data_app.command("fetch")
def data_fetch(
    name: str, as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False
) -> None:
    """Download what is not there yet into the user's cache, and check it; exit 1 if anything is
    missing or differs.
    """
    from .data import manifest as m

    _print_checks(name, m.fetch(name), as_json)


@data_app.command("verify")
def data_verify(
    spec: Annotated[str, typer.Argument(metavar="NAME[:PATH]")],
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Check every file against its manifest where it lies; exit 1 if anything is missing or
    differs.
    """
    from .data import manifest as m

    _print_checks(spec, m.verify(spec, progress=True), as_json)


_SHOWN_WARNINGS = 20
_TITLES = {"labelled": "people with joints", "in_space": "joints in 3D", "fps": "frames/s"}


@data_app.command("inspect")
def data_inspect(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file, a folder, or NAME[:PATH] of a data set.")
    ],
    reader: Annotated[str | None, typer.Option(help="Which reader; recognised by default.")] = None,
    on_bad: Annotated[
        str, typer.Option(help="raise at a bad record, or report them and read the others.")
    ] = "raise",
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable, with every warning.")
    ] = False,
) -> None:
    """Read whatever it is, and say what it is and what is in it; exit 2 with one line where it
    is damaged.
    """
    import logging
    import warnings

    from .data.describe import describe

    # what decoders say of a damaged picture, beside our one line
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")
    found = describe(path, reader, on_bad=on_bad)
    if as_json:
        print(json.dumps(found, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for key, value in found.items():
        if key == "labelled_images" and value == found["images"]:
            continue
        if key == "occlusion_known" and value is False:
            value = "no, nothing is said about it"
        if key == "joints" and found["occlusion_known"] is False:
            value = {"not labelled (0)": value["0"], "labelled (2)": value["2"]}
        if (
            key not in ("schema_version", "warnings")
            and value is not False
            and value not in (None, [], {})
        ):
            title = _TITLES.get(key, key.replace("_", " "))
            table.add_row(title, Text(_printable(_cell(value))))
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table)
    told = found["warnings"]
    for w in told["records"][:_SHOWN_WARNINGS]:
        file = None if w["file"] == found["path"] else w["file"]
        print(
            _printable(
                "warning: " + ", ".join(part for part in (file, w["record"], w["problem"]) if part)
            )
        )
    if told["count"] > _SHOWN_WARNINGS:
        print(
            f"and {told['count'] - _SHOWN_WARNINGS:,} more of {told['count']:,} warnings; --json "
            "has all"
        )


def _printable(text: str) -> str:
    """Names from files of others, without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _cell(value) -> str:
    """A value of `describe` in words: a range as 3-5, joints by what their flags mean, a dict as
    key value.
    """
    match value:
        case {"width": width, "height": height}:
            return f"{_cell(width)} x {_cell(height)} px"
        case {"min": low, "max": high}:
            return _cell(low) if low == high else f"{_cell(low)}-{_cell(high)}"
        case {"0": unlabelled, "1": occluded, "2": visible}:
            return f"{unlabelled:,} not labelled (0), {occluded:,} occluded (1), {visible:,} visible (2)"
        case dict():
            return ", ".join(f"{key} {_cell(v)}" for key, v in value.items() if v not in (None, []))
        case list():
            return ", ".join(map(_cell, value[:20])) + (", ..." if len(value) > 20 else "")
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
    return str(value)


# --- train, evaluate, bench -----------------------------------------------------------------------

Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(min=0)]
Precision = Annotated[str, typer.Option(help="Of answers: fp32, or bf16 for what reads pictures.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")]


def _listed(text: str | None, kind: type, what: str) -> tuple | None:
    """A comma-separated option as a tuple."""
    try:
        return None if text is None else tuple(kind(part.strip()) for part in text.split(","))
    except ValueError as error:
        remedy = "whole numbers, as in 2,7"
        raise BadParameter(f"{what} are {text!r}", remedy=remedy) from error


# what says which row it is
ROW_WORDS = (
    "method variant configuration precision batch task T subset data backbone boxes kind".split()
)


def _print_rows(rows: list[dict]) -> None:
    """A table, its columns of numbers in as many parts as the terminal is narrow; what a row is
    stands in each part.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160)

    def text(value) -> str:
        if isinstance(value, float):
            return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
        return "" if value is None else str(value)

    cells = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        if any(v is not None for v in values):
            cells[key] = [text(v) for v in values]
    words = [key for key in cells if key in ROW_WORDS]
    numbers = [key for key in cells if key not in ROW_WORDS]
    room = {key: max(map(len, [key, *values])) + 3 for key, values in cells.items()}
    parts, left = [[]], console.width - sum(room[key] for key in words)
    for key in numbers:
        if parts[-1] and room[key] + sum(room[k] for k in parts[-1]) > left:
            parts.append([])
        parts[-1].append(key)
    for part in parts:
        table = Table(box=SIMPLE_HEAD)
        for key in words + part:
            table.add_column(key, justify="right" if key in part else "left", no_wrap=key in part)
        for row in zip(*(cells[key] for key in words + part)):
            if any(row[len(words) :]):
                table.add_row(*row)
        console.print(table)


def _writable(path: Path | None) -> None:
    """Refuses a file that cannot be written before work starts, not after it."""
    if path is None:
        return
    if path.is_dir():
        raise BadParameter("is a folder", file=path, remedy="name a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise BadParameter("its folder cannot be written", file=path, remedy="choose another place")


def _write_json(path: Path | None, content: dict) -> None:
    if path is not None:
        from .resources import write_beside

        write_beside(
            path, lambda beside: beside.write_text(json.dumps(content, indent=1), encoding="utf-8")
        )


@app.command()
def train(
    method: str,
    out: Annotated[
        Path | None,
        typer.Option(help="Weight file to write; the shipped one's name in . by default."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Fewer steps than the recipe's.", min=1)] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Whose joints; the method's usual one by default.")
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
):
    """Train what the workbench ships for METHOD, from data that it makes itself. A killed
    training goes on where it was.
    """
    from .predict import weights_path
    from .recipes.base import Options, recipe

    _writable(out)
    options = Options(seed=seed, steps=steps, device=device)
    place = out or Path(weights_path(method, skeleton).name)
    typer.echo(recipe(method).ship(place, options, skeleton=skeleton))


@app.command()
def evaluate(
    method: str,
    data: Annotated[
        str, typer.Option(help="NAME or NAME:PATH; see `workbench data list`.")
    ] = "synthetic",
    json_file: JsonFile = None,
    variants: Annotated[
        str | None, typer.Option(help="Comma-separated; the shipped ones by default.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Of stdpose: propagation (the usual one), estimation or pseudo."),
    ] = None,
    intervals: Annotated[str | None, typer.Option(help="Of stdpose: T, comma-separated.")] = None,
    given: Annotated[
        float | None,
        typer.Option(
            help="Of stdpose: share of training windows that are told labels; the paper's is 0."
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="On published data, estimate in a detector's boxes: COCO results JSON."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Of a public program (vissimcc): judge these weights.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Cap every training; for trying out.", min=1)
    ] = None,
    seed: Seed = 0,
    precision: Precision = "fp32",
    device: Device = "auto",
):
    """Run METHOD's protocol on a data set and print its rows, the paper's beside them. Trained
    folds are kept and reused.
    """
    from .recipes.base import recipe

    _writable(json_file)
    chosen = recipe(method)
    result = chosen.evaluate(
        data,
        variants=_listed(variants, str, "variants"),
        task=task,
        intervals=_listed(intervals, int, "intervals"),
        given=given,
        boxes=boxes,
        weights=weights,
        steps=steps,
        seed=seed,
        precision=None if precision == "fp32" else precision,
        device=device,
    )
    if os.environ.get("RANK", "0") != "0":
        return
    typer.echo(result["protocol"])
    _print_rows(chosen.flat(result))
    _write_json(json_file, result)


@app.command()
def score(
    predictions: Annotated[
        Path, typer.Argument(help="COCO results JSON with keypoints and scores.")
    ],
    truth: Annotated[
        Path, typer.Option(help="Annotation file: COCO, CrowdPose, or any in COCO's format.")
    ],
    boxes: Annotated[
        str,
        typer.Option(
            help="What the poses were estimated from: ground truth, detector, none (bottom-up)."
        ),
    ] = "not stated",
    skeleton: Annotated[
        str | None, typer.Option(help="Told by the annotations if left out.")
    ] = None,
    area: Annotated[
        str | None,
        typer.Option(help="OKS scale: stated, or box (0.53 of it; CrowdPose's default)."),
    ] = None,
    on_bad: Annotated[
        str, typer.Option(help="raise at a bad record, or report them and score the others.")
    ] = "raise",
    json_file: JsonFile = None,
):
    """Score anybody's COCO results: AP and AR by OKS and PCK, of all, visible and occluded
    joints, and by crowdIndex.
    """
    from .data.scoring import score_files

    _writable(json_file)
    result = score_files(
        predictions, truth, boxes=boxes, skeleton=skeleton, area=area, on_bad=on_bad
    )
    typer.echo(result["protocol"])
    _print_rows([{"subset": r["subset"], "people": r["n"], **r["metrics"]} for r in result["rows"]])
    for warning in result["warnings"][:_SHOWN_WARNINGS]:
        typer.echo(_printable(f"warning: {warning}"))
    if (n := len(result["warnings"])) > _SHOWN_WARNINGS:
        typer.echo(f"and {n - _SHOWN_WARNINGS:,} more of {n:,} warnings; --json has all")
    _write_json(json_file, result)


@app.command()
def bench(
    method: Annotated[str, typer.Option(help="Which method.")] = "port",
    seconds: Annotated[float, typer.Option(help="Time for each number.", min=0.1)] = 3.0,
    json_file: JsonFile = None,
    device: Device = "auto",
):
    """Measure training and inference rates of METHOD on this machine, with parameters and FLOPs."""
    from .bench import bench as measure

    _writable(json_file)
    result = measure(method, device=device, seconds=seconds)
    _write_json(json_file, result)
    typer.echo(f"{result['hardware']}; {result['protocol']}")
    _print_rows(result["rows"])


# --- predict --------------------------------------------------------------------------------------


@app.command()
def predict(
    method: str,
    source: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO|FOLDER|CAMERA", help="A video, pictures, or a camera's number."
        ),
    ],
    keypoints: Annotated[
        Path | None,
        typer.Option(
            help="Your own results: COCO results, MMPose or OpenPose JSON, a folder of them, or CSV."
        ),
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Of the results; told by the number of joints if left out.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the video, the results and the table.")
    ] = Path("predictions"),
    delta: Annotated[
        float | None,
        typer.Option(help="Replace joints below this confidence; the weights' own rule."),
    ] = None,
    frames: Annotated[
        int, typer.Option(help="How many frames to record from a camera.", min=1)
    ] = 150,
    precision: Precision = "fp32",
    device: Device = "auto",
):
    """Refine the people of a video: an overlay video, results in the format of the input, and a
    table of all joints.

    port replaces joints below delta, pose by pose; hanet moves every joint, each person's track as
    one sequence; vissimcc looks at the pictures again, in each person's box, otpose and stdpose at
    the frames around them, too; these three find their joints in yours by name and leave the
    others. Without --keypoints, people are found by torchvision's keypoint detector (`workbench
    data fetch torchvision_keypointrcnn`).
    """
    from itertools import islice
    from time import perf_counter

    from .data.finder import find_people, load_finder
    from .data.frames import open_frames, picture_names
    from .data.results import read_detections
    from .data.tracks import link, on_frames
    from .metrics import joint_distances
    from .predict import (
        OF_PICTURES,
        SHIPPED,
        PoseEstimator,
        estimate_people,
        load,
        refine_people,
        refine_tracks,
    )
    from .train import choose_device
    from .view.overlay import save_results, write_video

    if method not in SHIPPED:
        raise unknown("method for a video", method, SHIPPED)
    if delta is not None and method != "port":
        raise BadParameter(
            f"{method} has no delta: every joint may move", remedy="leave --delta out"
        )
    device, start = choose_device(device), perf_counter()
    # whoever finds people finds coco17: weights for it are wanted before the work
    if not keypoints:
        load(method, skeleton=None if method in OF_PICTURES else "coco17", precision=precision)
    finder = None if keypoints else load_finder(device=device)
    if source.isdecimal():
        with open_frames(int(source)) as camera:
            stream = islice(camera, frames)
            fps = camera.video.fps
            source = str(
                write_video(
                    out / f"camera_{source}.webm", stream, fps=fps, total=frames, progress=True
                )
            )
    with open_frames(source) as video:
        if keypoints:
            size_wh = (video.video.width, video.video.height)
            found = read_detections(keypoints, skeleton=skeleton, size_wh=size_wh)
            found = on_frames(found, len(video), picture_names(source))
        else:
            _writable(out / "results")  # finding people takes long
            found = find_people(video, finder, progress=True)
        found = found if found.tracks is not None else link(found)
        joints = None if method in OF_PICTURES else found.skeleton
        refiner = load(method, skeleton=joints, device=device, precision=precision)
        if isinstance(refiner, PoseEstimator):
            refined = estimate_people(refiner, video, found)
        else:
            refined = (
                refine_people(refiner, found, delta=delta)
                if method == "port"
                else refine_tracks(refiner, found)
            )
        written = save_results(out, video, refined, like=keypoints, progress=True)
        n, seconds = len(video), perf_counter() - start
    moved = joint_distances(refined.xy_frame, found.xy_frame)[
        refined.replaced & (found.confidence > 0)
    ]
    row = {
        "frames": n,
        "persons": len(set(found.tracks.tolist())),
        "poses": len(found),
        "joints": found.confidence.size,
    }
    row |= {
        "replaced": int(refined.replaced.sum()),
        "moved, px": float(moved.mean()) if moved.size else 0.0,
    }
    _print_rows([row | {"device": device, "frames/s": n / seconds}])
    for path in written.values():
        typer.echo(path)


@app.command()
def propagate(
    source: Annotated[str, typer.Argument(help="The video: a file, or a folder of its pictures.")],
    labels: Annotated[Path, typer.Option(help="COCO JSON with the poses of some of its frames.")],
    out: Annotated[Path, typer.Option(help="COCO JSON to write.")] = Path("propagated.json"),
    method: Annotated[
        str, typer.Option(help="stdpose, farneback (optical flow) or linear.")
    ] = "stdpose",
    skeleton: Annotated[str | None, typer.Option(help="Told by the labels if left out.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Also write the video with all poses, .webm.")
    ] = None,
    first_frame: Annotated[
        int | None,
        typer.Option(
            help="Number of the video's first frame in the labels, where they do not prove it.",
            min=0,
            max=1,
        ),
    ] = None,
    max_gap: Annotated[
        int | None,
        typer.Option(
            help="Leave gaps of more frames than this open; all are filled by default.", min=1
        ),
    ] = None,
    on_bad: Annotated[
        str, typer.Option(help="raise at a bad record, or report them and carry the others.")
    ] = "raise",
    device: Device = "auto",
):
    """Carry the labels of some frames of a video to every frame between them.

    The labels come back as they were, with an annotation for each pose that was carried, marked
    "propagated", with the confidence of every joint. People are told apart by track_id (a number or
    text) or instance_id; where nobody has one, they are linked by place and shape and get one; if
    some have one, all must.

    Which frame an image shows: in a folder, the picture that is called as the image. Else frame_id
    says it, if it is a whole number that all labelled images state. Else the number in file_name
    that changes between the names: the number of a picture in a folder, or one that counts from the
    first frame's, 0 or 1. An image of number 0, or of the number of the frames, proves which; where
    none does, and no earlier run noted it, --first-frame must say it.

    Nothing is carried beyond a person's first and last label, nor across a frame where the person's
    annotation has no joints (all v = 0): that says that the person is not there.

    To correct and run again: move the joints of a carried pose in the written file and remove its
    "propagated" mark (or set it to false). It then is a label; poses with the mark are none, they
    are carried anew, and so are those that CVAT put between its keyframes ("keyframe": false).
    """
    from .data.frames import open_frames
    from .data.labels import check_places, read_labels, write_propagated
    from .predict import load
    from .propagate import WAYS, all_poses, gaps, unknown_joints
    from .propagate import propagate as carry
    from .train import choose_device
    from .view.overlay import write_overlay

    if method not in ("stdpose", *WAYS):
        raise unknown("method of propagation", method, ("stdpose", *WAYS))
    for path in (out, overlay):
        _writable(path)
    check_places(source, labels, out, overlay)
    with open_frames(source, on_bad=on_bad) as video:
        given = read_labels(labels, video, skeleton, first_frame=first_frame, on_bad=on_bad)
        warnings = [f"warning: {warning}" for warning in given.warnings]
        for line in (*given.notes, *warnings[:_SHOWN_WARNINGS]):
            typer.echo(_printable(line))
        if (n := len(warnings)) > _SHOWN_WARNINGS:
            typer.echo(f"and {n - _SHOWN_WARNINGS:,} more of {n:,} warnings")
        way = load(method, device=choose_device(device)) if method == "stdpose" else method
        found = carry(given.clip, video, way, max_gap=max_gap, progress=True)
        interpolated = unknown_joints(found.skeleton, way)
        if interpolated:
            names = ", ".join(interpolated)
            typer.echo(f"{method} does not know {names}: between their labels on a straight line")
        write_propagated(out, given, found, interpolated)
        if overlay is not None:
            marks = "discs: labels   rings: propagated"
            write_overlay(overlay, video, all_poses(given.clip, found), legend=marks, progress=True)
    lengths = [right - left - 1 for track in given.clip.tracks for left, right in gaps(track)]
    if max_gap is not None and max(lengths) > max_gap:
        left_open = sum(length > max_gap for length in lengths)
        typer.echo(f"{left_open} gaps of more than {max_gap} frames are left open")
    row = {
        "frames": given.clip.video.n_frames,
        "persons": len(given.clip.tracks),
        "labelled poses": len(given.people),
        "propagated": len(found),
        "longest gap": max(lengths),
        "mean confidence": float(found.confidence.mean()),
    }
    _print_rows([row])
    typer.echo(out)
    if overlay is not None:
        typer.echo(overlay)


# --- run, runs, lab -------------------------------------------------------------------------------

runs_app = typer.Typer(no_args_is_help=True, help="Earlier runs: list, show.")
app.add_typer(runs_app, name="runs")
Out = Annotated[Path, typer.Option("--out", help="Folder of the run folders.")]


@app.command()
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Notebooks, as 02_port or port.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every notebook.")] = False,
    parameters: Annotated[
        list[str] | None, typer.Option("-p", metavar="KEY=VALUE", help="A parameter.")
    ] = None,
    profile: Annotated[str, typer.Option(help="fast, full or paper.")] = "fast",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Out = Path("runs"),
    cell_timeout: Annotated[
        int, typer.Option("--cell-timeout", metavar="S", help="Seconds for one cell.", min=1)
    ] = 1800,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Finish an earlier run.")] = None,
) -> None:
    """Execute notebooks into runs/<id>/ and write its index.html; exit code 1 when a notebook
    failed.
    """
    from .runs import list_runs, notebook_paths, resume_run, run_notebooks
    from .view.html import publish

    if (bool(names) + every + bool(resume)) != 1:
        there = ", ".join(notebook_paths())
        raise BadParameter(
            "name notebooks, or say --all, or --resume ID", remedy=f"there are {there}"
        )
    pairs = [text.partition("=") for text in parameters or []]
    if lone := [key for key, equals, _ in pairs if not equals]:
        raise BadParameter("expected KEY=VALUE", record=f"-p {lone[0]}")
    if resume and pairs:
        raise BadParameter("a resumed run keeps its parameters", record=f"-p {parameters[0]}")
    if resume:
        done = resume_run(resume, out=out, report=publish)
    else:
        for earlier in list_runs(out):
            if earlier.status == "interrupted":
                left = ", ".join(earlier.left) or "nothing"
                print(
                    f"run {earlier.id} was interrupted; left: {left}. `--resume {earlier.id}` "
                    "finishes it",
                    file=sys.stderr,
                )
        given = {key: value for key, _, value in pairs}
        chosen = list(notebook_paths()) if every else names
        settings = {"profile": profile, "device": device, "cell_timeout_s": cell_timeout}
        done = run_notebooks(chosen, given, out=out, report=publish, **settings)
    _show(done)
    if done.status != "completed":
        raise typer.Exit(1)


@runs_app.command("list")
def runs_list(out: Out = Path("runs")) -> None:
    """Every run with its state, and what is left of it."""
    from .runs import list_runs

    for item in list_runs(out):
        left = f"  left: {', '.join(item.left)}" if item.left else ""
        left = f"  {item.problem}" if item.problem else left
        typer.echo(
            f"{item.id}  "
            f"{item.status:<12}{len(item.notebooks('completed'))}/{len(item.notebooks())}{left}"
        )


@runs_app.command("show")
def runs_show(
    run_id: Annotated[str, typer.Argument(metavar="ID")], out: Out = Path("runs")
) -> None:
    """One run: notebooks, parameters, metrics, and how to finish it if it was interrupted."""
    from .runs import load_run

    _show(load_run(run_id, out))


def _show(item) -> None:
    for name, entry in item.record["notebooks"].items():
        seconds = f"{entry['duration_s']:8.1f} s" if "duration_s" in entry else ""
        typer.echo(f"{name:<28}{entry['status']:<12}{seconds}")
        for key, value in entry["parameters"].items():
            typer.echo(f"    {key} = {value!r}")
        if entry.get("metrics"):
            typer.echo(f"    metrics {json.dumps(entry['metrics'])}")
        if entry.get("error"):
            typer.echo(f"    {entry['error']['type']}: {entry['error']['message']}")
    typer.echo(f"{item.status}: {item.folder / 'index.html'}")
    if item.left and item.status != "running":
        elsewhere = (
            ""
            if item.folder.parent == Path("runs").resolve()
            else f" --out {shlex.quote(str(item.folder.parent))}"
        )
        typer.echo(f"to run what is left: workbench run --resume {item.id}{elsewhere}")


@app.command()
def lab(
    port: Annotated[
        int, typer.Option(help="The next free one is taken if it is in use.", min=1, max=65535)
    ] = 8888,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
) -> None:
    """Open JupyterLab on 127.0.0.1, its token on, at the notebooks."""
    from .runs import lab_command

    command = lab_command(port=port) + ([] if browser else ["--no-browser"])
    os.execv(command[0], command)


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    # the file system's own refusals: no permission, disk full, not a folder
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(
            f"{type(error).__name__}: {where}{error.strerror or error}. Remedy: check the path and "
            "its permissions",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
