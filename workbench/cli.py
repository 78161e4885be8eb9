"""The `workbench` command: parses and prints. Errors made on purpose end as one line on stderr and
exit code 2; nothing else is caught.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from .errors import BadFile, BadParameter, MissingData, WorkbenchError, unknown
from .outputs import check_new, write_text

Context = typer.Context.__base__  # what commands are really handed; typer's is a mere mark


class Commands(TyperGroup):
    """Commands whose list says of each all that its help begins with, in as many lines as it
    takes.
    """

    def format_commands(self, ctx, formatter) -> None:
        rows = []
        for name, command in self.commands.items():
            beginning = (command.help or "").partition("\n\n")[0]
            rows.append((name, " ".join(beginning.split())))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


PLAIN = {"cls": Commands, "no_args_is_help": True, "rich_markup_mode": None}  # rich loads slowly
app = typer.Typer(
    **PLAIN,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The Occlusion Workbench.",
)
data_app = typer.Typer(**PLAIN, help="Data sets and weights: list, show, fetch, verify.")
app.add_typer(data_app, name="data")
cache_app = typer.Typer(**PLAIN, help="What is made or fetched once and kept: list, verify, clean.")
app.add_typer(cache_app, name="cache")

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable.")]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the rows to this file.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int, typer.Option(min=0)]
Precision = Annotated[str, typer.Option(help="Of answers: fp32, or bf16 for what reads pictures.")]
OnBad = Annotated[
    str, typer.Option(help="raise at a bad record, or report them and go on with the others.")
]
FirstFrame = Annotated[
    int | None,
    typer.Option(
        help="Number of the video's first frame in the file, where it does not prove it.", min=0
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="In place of the shipped ones; vissimcc reads published checkpoints, too, and fetched "
        "ones by NAME."
    ),
]
Size = Annotated[
    str | None,
    typer.Option(metavar="WxH", help="Of a published checkpoint's crops, px, as in 192x256."),
]
LongSide = Annotated[
    int,
    typer.Option(
        help="Longest side of the overlay, px; larger frames are scaled down before drawing, "
        "smaller ones stay as they are.",
        min=16,
    ),
]
LONG_SIDE = 1920  # px, of `film`, which is too slow to import here

# --- printing -------------------------------------------------------------------------------------

# columns of a table that say which row it is
ROW_WORDS = (
    "method variant configuration precision batch task T subset data backbone boxes kind".split()
)
WIDTH = 160  # of what is printed into a file
SHOWN_WARNINGS = 20


def _width() -> int | None:
    """Of the terminal (None: rich asks it), or of a file."""
    return None if sys.stdout.isatty() else WIDTH


def _text(value) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def _in_parts(columns: Mapping[str, list[str]], room: int) -> list[list[str]]:
    """Names of columns, in as many parts as it takes for each to fit into `room` letters."""
    parts, left = [[]], room
    for name, cells in columns.items():
        wide = max(map(len, [name, *cells])) + 3
        if parts[-1] and wide > left:
            parts.append([])
            left = room
        parts[-1].append(name)
        left -= wide
    return parts


def print_rows(rows: Sequence[Mapping], width: int | None = None) -> None:
    """A table, its columns of numbers in as many parts as the terminal is narrow; what a row is
    stands in each part. Columns in which no row says anything are left out.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(width=width or _width())
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [_text(row.get(name)) for row in rows] for name in names}
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    words = {name: columns[name] for name in columns if name in ROW_WORDS}
    numbers = {name: columns[name] for name in columns if name not in ROW_WORDS}
    room = console.width - sum(max(map(len, [name, *cells])) + 3 for name, cells in words.items())
    for part in _in_parts(numbers, room):
        table = Table(*words, box=SIMPLE_HEAD)
        for name in part:
            table.add_column(name, justify="right", no_wrap=True)
        for row in range(len(rows)):
            cells = [numbers[name][row] for name in part]
            if any(cells):
                table.add_row(*(cells_of[row] for cells_of in words.values()), *cells)
        console.print(table)


def _printable(text: str) -> str:
    """Names from files of others, without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _print_warnings(warnings: Iterable[str], count: int, more: str = "") -> None:
    """The first of `count` warnings, and how many there are; more: where to see the others."""
    for warning, _ in zip(warnings, range(SHOWN_WARNINGS)):
        typer.echo(_printable(f"warning: {warning}"))
    if count > SHOWN_WARNINGS:
        typer.echo(f"and {count - SHOWN_WARNINGS:,} more of {count:,} warnings{more}")


def _print_json(**content) -> None:
    typer.echo(json.dumps({"schema_version": 1, **content}, indent=1))


def _write_json(path: Path | None, content: dict) -> None:
    if path is not None:
        write_text(path, json.dumps(content, indent=1))


def _check_places(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            check_new(path)


# --- cache ----------------------------------------------------------------------------------------


@cache_app.command("list")
def cache_list():
    """Every entry of the cache, how many files or clips it has, and its size."""
    from .caches import cache_root, kept

    entries = list(kept())
    for entry in entries:
        typer.echo(f"{entry.bytes / 2**20:10,.1f} MB  {entry.holds:6,}  {entry.kind}  {entry.name}")
    total = sum(entry.bytes for entry in entries) / 2**30
    typer.echo(f"{total:.2f} GB in {len(entries):,} entries below {cache_root()}")


@cache_app.command("verify")
def cache_verify():
    """Look at every bit of it that was written with its sum; 1 where something is damaged."""
    from .caches import damage, kept

    wrong = [found for entry in kept() for found in damage(entry, progress=True)]
    for place, why in wrong:
        typer.echo(f"{place}: {why}")
    typer.echo(f"{len(wrong):,} damaged" if wrong else "everything is as it was written")
    raise typer.Exit(bool(wrong))


@cache_app.command("clean")
def cache_clean(
    names: Annotated[
        list[str] | None, typer.Argument(help="Entries, or beginnings such as worlds.")
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Of all entries what is damaged.")
    ] = False,
):
    """Remove entries, and always what killed processes have left. They are made or fetched anew
    when they are wanted.
    """
    from .caches import clean

    gone = clean(tuple(names or ()), damaged=damaged)
    for entry in gone:
        typer.echo(f"removed {entry.name} ({entry.bytes / 2**20:,.1f} MB)")
    typer.echo(f"{sum(entry.bytes for entry in gone) / 2**30:.2f} GB are free again")


# --- data -----------------------------------------------------------------------------------------


@data_app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """Every data set and weight file that has a manifest, and whether it is on this machine."""
    from rich.console import Console
    from rich.table import Table

    from .data import manifest as m

    rows = []
    for found in m.manifests().values():
        try:
            place = str(m.folder_of(found)) if found.layout else ""
        except MissingData:
            place = None
        row = found.model_dump(include={"name", "kind", "access", "licence", "title"})
        rows.append(row | {"present": place is not None, "place": place})
    if as_json:
        return _print_json(data=rows)
    table = Table("name", "kind", "access", "licence", "present here?")
    for row in rows:
        place = (row["place"] or "yes, needs no files") if row["present"] else "no"
        table.add_row(row["name"], row["kind"], row["access"], row["licence"], place)
    Console().print(table)


@data_app.command("show")
def data_show(name: str, as_json: AsJson = False) -> None:
    """One manifest: licence, how to get it, files, checksums, reader."""
    import yaml

    from .data import manifest as m

    content = m.manifest(name).model_dump()
    if as_json:
        text = json.dumps(content, indent=1)
    else:
        text = yaml.safe_dump(content, sort_keys=False, width=110)
    typer.echo(text.rstrip())


def _print_checks(spec: str, checks: list, as_json: bool) -> None:
    if as_json:
        fields = ("path", "status", "detail", "required")
        rows = [{name: getattr(check, name) for name in fields} for check in checks]
        _print_json(data=spec, files=[row | {"path": str(row["path"])} for row in rows])
    else:
        for check in checks:
            detail = f"  ({check.detail})" if check.detail else ""
            typer.echo(f"{check.status:10} {check.path}{detail}")
        if not checks:
            typer.echo(f"{spec} has no files: nothing to fetch or verify")
    if any(check.bad for check in checks):
        raise typer.Exit(1)


@data_app.command("fetch")
def data_fetch(
    name: str,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Also files of which no checksum is known."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Download what is not there yet into the user's cache, and check it; exit 1 if anything is
    missing or differs.
    """
    from .data import manifest as m

    urls = m.unverifiable(name)
    if urls and not unverified and sys.stdin.isatty():
        asked = f"Nobody could state a checksum of {', '.join(urls)}. Fetch all the same?"
        unverified = typer.confirm(asked)
    _print_checks(name, m.fetch(name, unverified=unverified), as_json)


@data_app.command("verify")
def data_verify(
    spec: Annotated[str, typer.Argument(metavar="NAME[:PATH]")], as_json: AsJson = False
) -> None:
    """Check every file against its manifest where it lies; exit 1 if anything is missing or
    differs.
    """
    from .data import manifest as m

    _print_checks(spec, m.verify(spec, progress=True), as_json)


_TITLES = {
    "labelled": "people with joints",
    "in_space": "joints in 3D",
    "fps": "frames/s",
    "height_mm": "height (mm)",
}


@data_app.command("inspect")
def data_inspect(
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file, a folder, or NAME[:PATH] of a data set.")
    ],
    reader: Annotated[str | None, typer.Option(help="Which reader; recognised by default.")] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Whose joints; told by the file if left out.")
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Of a BVH file, which states none: mm, cm, m, in, or its length in mm; cm if left "
            "out."
        ),
    ] = None,
    on_bad: OnBad = "raise",
    as_json: Annotated[
        bool, typer.Option("--json", help="Machine-readable, with every warning.")
    ] = False,
) -> None:
    """Read whatever it is, and say what it is and what is in it; exit 2 with one line where it
    is damaged.
    """
    import logging
    import warnings

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from .data.describe import describe

    # what decoders say of a damaged picture, beside our one line
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="PIL")
    description = describe(path, reader, on_bad=on_bad, skeleton=skeleton, unit=unit)
    if as_json:
        return typer.echo(json.dumps(description, indent=1))
    table = Table.grid(padding=(0, 2))
    for key, value in _told(description).items():
        title = _TITLES.get(key, key.replace("_", " "))
        table.add_row(title, Text(_printable(_cell(value))))
    Console(width=_width(), highlight=False).print(table)
    told = description["warnings"]
    lines = []
    for warning in told["records"]:
        file = None if warning["file"] == description["path"] else warning["file"]
        lines.append(", ".join(filter(None, (file, warning["record"], warning["problem"]))))
    _print_warnings(lines, told["count"], "; --json has all")


def _told(description: Mapping) -> dict:
    """What of `describe` is worth a line: nothing that is empty, and nothing twice."""
    told = {k: v for k, v in description.items() if k not in ("schema_version", "warnings")}
    if told["labelled_images"] == told["images"]:
        del told["labelled_images"]
    if told["occlusion_known"] is False:
        told["occlusion_known"] = "no, nothing is said about it"
        flags = told["joints"]
        told["joints"] = {"not labelled (0)": flags["0"], "labelled (2)": flags["2"]}
    return {k: v for k, v in told.items() if v is not False and v not in (None, [], {})}


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
            counts = f"{unlabelled:,} not labelled (0), {occluded:,} occluded (1)"
            return f"{counts}, {visible:,} visible (2)"
        case dict():
            told = {_TITLES.get(key, key): v for key, v in value.items() if v not in (None, [])}
            return ", ".join(f"{key} {_cell(v)}" for key, v in told.items())
        case list():
            return ", ".join(map(_cell, value[:20])) + (", ..." if len(value) > 20 else "")
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.4g}"
    return str(value)


# --- train, evaluate, score, bench ----------------------------------------------------------------


def _size_wh(text: str | None) -> tuple[int, int] | None:
    """192x256 as (192, 256)."""
    if text is None:
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise BadParameter(f"size is {text!r}", remedy="width and height in px, as in 192x256")
    return int(width), int(height)


def _whole_numbers(text: str | None) -> tuple[int, ...] | None:
    """2,7 as (2, 7)."""
    try:
        return tuple(map(int, text.split(","))) if text else None
    except ValueError as error:
        raise BadParameter(f"intervals are {text!r}", remedy="whole numbers, as in 2,7") from error


def _recipe(context: Context, method: str):
    """The method's recipe: the caller's own (`obj`, by name), else the package's."""
    from .recipes.base import recipe

    return (context.obj or {}).get(method) or recipe(method)


@app.command()
def train(
    context: Context,
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
    from .recipes.base import Options

    options = Options(seed=seed, steps=steps, device=device)
    place = out or Path(weights_path(method, skeleton).name)
    typer.echo(_recipe(context, method).ship(place, options, skeleton=skeleton))


@app.command()
def evaluate(
    context: Context,
    method: str,
    data: Annotated[
        str,
        typer.Option(
            help="NAME or NAME:PATH; see `workbench data list`. Of port also any file with truth, "
            "beside --detections."
        ),
    ] = "synthetic",
    json_file: JsonFile = None,
    variants: Annotated[
        str | None, typer.Option(help="Comma-separated; the shipped ones by default.")
    ] = None,
    detections: Annotated[
        Path | None,
        typer.Option(
            help="Of port: a detector's results on the people of --data, in any format that "
            "predict reads."
        ),
    ] = None,
    skeleton: Annotated[
        str | None,
        typer.Option(help="Of --detections without names of joints, where not the truth's."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Of stdpose: propagation (the usual one), estimation or pseudo."),
    ] = None,
    intervals: Annotated[str | None, typer.Option(help="Of stdpose: T, comma-separated.")] = None,
    given: Annotated[
        float | None,
        typer.Option(
            help="Of stdpose: share of training windows that are told labels; on PoseTrack none, "
            "as in the paper."
        ),
    ] = None,
    frame_weight: Annotated[
        float | None,
        typer.Option(
            help="Of stdpose on PoseTrack: weight of a loss on single frames' maps; the paper has "
            "none."
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="On published data, estimate in a detector's boxes: COCO results JSON."),
    ] = None,
    weights: Weights = None,
    size: Size = None,
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
    _check_places(json_file)
    chosen = _recipe(context, method)
    result = chosen.evaluate(
        data,
        variants=None if variants is None else tuple(v.strip() for v in variants.split(",")),
        detections=detections,
        skeleton=skeleton,
        task=task,
        intervals=_whole_numbers(intervals),
        given=given,
        frame_weight=frame_weight,
        boxes=boxes,
        weights=weights,
        size=_size_wh(size),
        steps=steps,
        seed=seed,
        precision=None if precision == "fp32" else precision,
        device=device,
    )
    # of several processes that torchrun started, the first one speaks
    if os.environ.get("RANK", "0") != "0":
        return
    typer.echo(result["protocol"])
    print_rows(chosen.flat(result))
    _write_json(json_file, result)


@app.command()
def results(
    out: Annotated[Path, typer.Option(help="Markdown to write.")] = Path("RESULTS.md"),
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether it is what the rows say.")
    ] = False,
):
    """Write RESULTS.md from the measured rows (workbench/measured) and the text around them."""
    from .measured import rendered, write_results

    if not check:
        check_new(out, over=True)
        typer.echo(write_results(out))
    elif not out.exists() or out.read_text(encoding="utf-8") != rendered():
        raise BadFile("not what the rows say", file=out, remedy="run `workbench results`")
    else:
        typer.echo(f"{out} is what the rows say")


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
    on_bad: OnBad = "raise",
    json_file: JsonFile = None,
):
    """Score anybody's COCO results: AP and AR by OKS and PCK, of all, visible and occluded
    joints, and by crowdIndex.
    """
    from .data.scoring import score_files

    _check_places(json_file)
    result = score_files(
        predictions, truth, boxes=boxes, skeleton=skeleton, area=area, on_bad=on_bad
    )
    typer.echo(result["protocol"])
    print_rows([{"subset": r["subset"], "people": r["n"], **r["metrics"]} for r in result["rows"]])
    _print_warnings(result["warnings"], len(result["warnings"]), "; --json has all")
    _write_json(json_file, result)


@app.command()
def bench(
    method: Annotated[
        str, typer.Option(help="A method, starts, files, videos, worlds, explorers, or all.")
    ] = "port",
    seconds: Annotated[float, typer.Option(help="Time for each number.", min=0.1)] = 3.0,
    json_file: JsonFile = None,
    device: Device = "auto",
):
    """Measure METHOD on this machine, each thing beside a floor or rival called in turn."""
    from .bench import bench as measure

    _check_places(json_file)
    result = measure(method, device=device, seconds=seconds)
    _write_json(json_file, result)
    typer.echo(f"{result['hardware']}; {result['protocol']}")
    print_rows(result["rows"])


@app.command("side-by-side")
def side_by_side(
    clips: Annotated[int, typer.Option(help="Test clips of rendered people.", min=2)] = 120,
    seconds: Annotated[float, typer.Option(help="Time for what each costs.", min=0.1)] = 10.0,
    json_file: JsonFile = None,
    device: Device = "auto",
):
    """All five methods on the same rendered people: hits by visibility and occlusion, what each
    costs here, and which to take when (chapter 07).
    """
    from .recipes.base import flat_row
    from .side_by_side import choices, compare, judged

    _check_places(json_file)
    result = compare(clips, seconds=seconds, device=device)
    _write_json(json_file, result)
    typer.echo(f"{result['hardware']}; {result['protocol']}")
    print_rows([flat_row(row, None, ("PCK",)) for row in result["rows"]])
    print_rows(judged(result["rows"]))
    print_rows(choices(result["rows"]))


# --- predict, propagate ---------------------------------------------------------------------------


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
            help="Your results: JSON of COCO (results, data sets), MMPose, OpenPose, Ultralytics, "
            "or a folder of a file a frame; Ultralytics' .txt; CSV, also of DeepLabCut and "
            "Lightning Pose; MMPose's .pkl; with sleap-io SLEAP's .slp and .nwb."
        ),
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Of the results; told by the number of joints if left out.")
    ] = None,
    finder: Annotated[
        str | None,
        typer.Option(help="Who finds people: torchvision_keypointrcnn, transformers:MODEL."),
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(
            help="Who says their joints: finder, fetched weights such as vitpose_base_simple, "
            "transformers:MODEL."
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the video, the results and the table.")
    ] = Path("predictions"),
    weights: Weights = None,
    size: Size = None,
    delta: Annotated[
        float | None,
        typer.Option(
            help="Replace all joints below this, as the paper does; the weights' own rule."
        ),
    ] = None,
    first_frame: FirstFrame = None,
    on_bad: OnBad = "raise",
    force: Annotated[
        bool,
        typer.Option(help="Also joints of bodies that are not missing, though no gain is shown."),
    ] = False,
    frames: Annotated[
        int, typer.Option(help="How many frames to record from a camera.", min=1)
    ] = 150,
    long_side: LongSide = LONG_SIDE,
    precision: Precision = "fp32",
    device: Device = "auto",
):
    """Refine the people of a video: an overlay video, results in the format of the input, and a
    table of all joints.

    port replaces joints below delta, pose by pose, of bodies missing ones alone, and with --force
    those that it expects to bring closer; hanet moves every joint that it knows (of COCO's all but
    the face), each person's track as one sequence; vissimcc looks at the pictures again, in each
    person's box, otpose and stdpose at the frames around them, too; these three find their joints
    in yours by name and leave the others. Without --keypoints, --finder
    finds the people and --estimator their joints, both torchvision's keypoint detector by default
    (`workbench data fetch torchvision_keypointrcnn`). A MODEL of transformers is a folder, or a
    name after `hf download NAME`.

    Which frame a result belongs to, as in propagate: the picture that it names, in a folder; else
    the number that changes between names (a picture's, where pictures have numbers); else image_id,
    frame_id or frame. Numbers count from the first frame's: 0 or 1, as the file proves (frames
    without people, too), or as --first-frame says. Of several videos, the one called as yours.

    With --on-bad report a frame that cannot be decoded is black in the overlay; without, nothing is
    written.
    """
    from time import perf_counter

    from .predict import video
    from .train import choose_device

    device, start = choose_device(device), perf_counter()
    result = video(
        int(source) if source.isdecimal() else source,
        keypoints,
        method=method,
        out=out,
        skeleton=skeleton,
        finder=finder,
        estimator=estimator,
        weights=weights,
        size=_size_wh(size),
        delta=delta,
        first_frame=first_frame,
        on_bad=on_bad,
        force=force,
        camera_frames=frames,
        long_side=long_side,
        precision=precision,
        device=device,
        progress=True,
    )
    rate = result.frames / (perf_counter() - start)
    for note in result.notes:
        typer.echo(_printable(note))
    _print_warnings(map(str, result.warnings), len(result.warnings))
    print_rows([result.row() | {"device": device, "frames/s": rate}])
    _print_pace(result.pace)
    for path in result.written.values():
        typer.echo(path)


def _print_pace(pace) -> None:
    """How fast an overlay was written."""
    share = f"{100 * pace.encoding_share:.0f} % of the time encoding"
    typer.echo(f"overlay: {_text(pace.rate)} frames/s, {share}")


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
    long_side: LongSide = LONG_SIDE,
    first_frame: FirstFrame = None,
    max_gap: Annotated[
        int | None,
        typer.Option(
            help="Leave gaps of more frames than this open; all are filled by default.", min=1
        ),
    ] = None,
    on_bad: OnBad = "raise",
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
    from .data.labels import check_places, open_labelled, read_labels, write_propagated
    from .film import write_overlay
    from .predict import load
    from .propagate import WAYS, all_poses, gaps, unknown_joints
    from .propagate import propagate as carry
    from .train import choose_device

    if method not in ("stdpose", *WAYS):
        raise unknown("method of propagation", method, ("stdpose", *WAYS))
    check_places(source, out, overlay)
    paces = []
    with open_labelled(source, labels, on_bad) as video:
        video.count(progress=True)
        given = read_labels(labels, video, skeleton, first_frame=first_frame, on_bad=on_bad)
        for note in given.notes:
            typer.echo(_printable(note))
        _print_warnings(map(str, given.warnings), len(given.warnings))
        way = load(method, device=choose_device(device)) if method == "stdpose" else method
        found = carry(given.clip, video, way, max_gap=max_gap, progress=True)
        interpolated = unknown_joints(found.skeleton, way)
        if interpolated:
            names = ", ".join(interpolated)
            typer.echo(f"{method} does not know {names}: between their labels on a straight line")
        write_propagated(out, given, found, interpolated)
        if overlay is not None:
            marks = "discs: labels   rings: propagated"
            people, options = all_poses(given.clip, found), {"legend": marks, "progress": True}
            options |= {"long_side": long_side, "report": paces.append}
            write_overlay(overlay, video, people, **options)
    lengths = [right - left - 1 for track in given.clip.tracks for left, right in gaps(track)]
    _print_propagated(given, found, lengths, max_gap)
    for pace in paces:
        _print_pace(pace)
    for path in filter(None, (out, overlay)):
        typer.echo(path)


def _print_propagated(labels, carried, lengths: list[int], max_gap: int | None) -> None:
    """A row of what was carried; lengths: of all gaps, frames."""
    left_open = sum(max_gap is not None and length > max_gap for length in lengths)
    if left_open:
        typer.echo(f"{left_open} gaps of more than {max_gap} frames are left open")
    row = {
        "frames": labels.clip.video.n_frames,
        "persons": len(labels.clip.tracks),
        "labelled poses": len(labels.people),
        "propagated": len(carried),
        "longest gap": max(lengths),
        "mean confidence": float(carried.confidence.mean()),
    }
    print_rows([row])


# --- run, runs, lab -------------------------------------------------------------------------------

Out = Annotated[Path, typer.Option("--out", help="Folder of the run folders.")]
Parameters = Annotated[
    list[str] | None, typer.Option("-p", metavar="KEY=VALUE", help="A parameter.")
]
Jobs = Annotated[
    int | None,
    typer.Option(help="Notebooks at once; as many as processors and memory allow.", min=1),
]
CellTimeout = Annotated[
    int, typer.Option("--cell-timeout", metavar="S", help="Seconds for one cell.", min=1)
]


@app.command()
def sweep(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A notebook, as 02_port or port.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE,VALUE", help="A parameter's values.")
    ] = None,
    parameters: Parameters = None,
    profile: Annotated[str, typer.Option(help="fast, full or paper.")] = "fast",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Jobs = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Of dask, as tcp://host:8786; whose workers see these files.")
    ] = None,
    retries: Annotated[int, typer.Option(help="Of a point that fails.", min=0)] = 2,
    cell_timeout: CellTimeout = 1800,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Finish a sweep.")] = None,
    metric: Annotated[str | None, typer.Option(help="What the figure shows.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of the sweeps.")] = Path("sweeps"),
) -> None:
    """Execute a notebook for every point of a grid, several at once, each in a process of its own:
    a table, and a figure with a band over seeds. What was killed goes on with --resume.
    """
    from .runs import usual_jobs
    from .sweeps import begin, execute, load_sweep, parsed_grid

    if bool(name) == bool(resume):
        raise BadParameter("name a notebook, or say --resume ID")
    if resume:
        chosen = load_sweep(resume, out)
    else:
        options = {"profile": profile, "device": device, "cell_timeout_s": cell_timeout}
        chosen = begin(name, parsed_grid(grid or []), _pairs(parameters), **options, out=out)
    typer.echo(f"{len(chosen.left):,} points in {chosen.folder}")
    execute(chosen, jobs=jobs or usual_jobs(), scheduler=scheduler, retries=retries)
    _show_sweep(chosen, metric)
    if chosen.left:
        typer.echo(f"{len(chosen.left):,} points have not completed: --resume {chosen.id}")
        raise typer.Exit(1)


def _show_sweep(chosen, metric: str | None) -> None:
    """Prints the table, and writes it and the figure anew."""
    from .outputs import write_text
    from .sweeps import figure_rows
    from .view import paper

    table = chosen.table()
    print_rows(table.astype(object).where(table.notna(), None).to_dict("records"))
    csv = table.to_csv(index=False)
    typer.echo(write_text(chosen.folder / "table.csv", csv, over=True))
    found = figure_rows(chosen, metric)
    if found is None:
        typer.echo("no figure: no swept number besides the seed, or no metric")
        return
    x, metric, rows = found
    title = f"{metric} of {chosen.record['notebook']}"
    drawn = paper.seed_bands(rows, x, metric, title=title)
    name = re.sub(r"[^\w.-]+", "_", metric)
    typer.echo(paper.save(drawn, chosen.folder / f"{name}.svg", over=True))


runs_app = typer.Typer(**PLAIN, help="Earlier runs: list, show, verify, compare, rerun, export.")
app.add_typer(runs_app, name="runs")


@app.command()
def run(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME...", help="Notebooks, as 02_port or port.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every notebook.")] = False,
    parameters: Parameters = None,
    profile: Annotated[str, typer.Option(help="fast, full or paper.")] = "fast",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Out = Path("runs"),
    cell_timeout: CellTimeout = 1800,
    resume: Annotated[str | None, typer.Option(metavar="ID", help="Finish an earlier run.")] = None,
    jobs: Jobs = None,
) -> None:
    """Execute notebooks into runs/<id>/ and write its index.html; exit code 1 when a notebook
    failed.
    """
    from .runs import list_runs, notebook_paths, resume_run, run_notebooks, usual_jobs
    from .view.html import publish

    if (bool(names) + every + bool(resume)) != 1:
        there = ", ".join(notebook_paths())
        raise BadParameter(
            "name notebooks, or say --all, or --resume ID", remedy=f"there are {there}"
        )
    given = _pairs(parameters)
    if resume and given:
        raise BadParameter("a resumed run keeps its parameters", record=f"-p {parameters[0]}")
    jobs = jobs or usual_jobs()
    if resume:
        done = resume_run(resume, out=out, report=publish, jobs=jobs)
    else:
        for earlier in list_runs(out):
            if earlier.status == "interrupted":
                left = ", ".join(earlier.left) or "nothing"
                print(
                    f"run {earlier.id} was interrupted; left: {left}. `--resume {earlier.id}` "
                    "finishes it",
                    file=sys.stderr,
                )
        chosen = list(notebook_paths()) if every else names
        settings = {"profile": profile, "device": device, "cell_timeout_s": cell_timeout}
        done = run_notebooks(chosen, given, out=out, report=publish, jobs=jobs, **settings)
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


RunID = Annotated[str, typer.Argument(metavar="ID")]


@runs_app.command("verify")
def runs_verify(
    run_id: RunID,
    device: Annotated[
        str | None, typer.Option(help="Another than the run's: auto, cpu or cuda.")
    ] = None,
    out: Out = Path("runs"),
    jobs: Jobs = None,
) -> None:
    """Execute a run again in clean processes and compare every metric: the same bits on the same
    processor, versions and threads, within a thousandth elsewhere; exit code 1 where one differs.
    """
    from .reruns import TOLERANCE, verify
    from .runs import load_run, usual_jobs
    from .view.html import publish

    options = {"report": publish, "jobs": jobs or usual_jobs(), "device": device}
    found = verify(load_run(run_id, out), out=out, **options)
    for check in found.checks:
        if check.status != "same":
            change = f"{check.before!r} -> {check.after!r}"
            typer.echo(f"{check.status:<8}{check.notebook}: {check.metric}: {change}")
    for kind, names in found.differs.items():
        shown = [f"{name}: {_short(a)} -> {_short(b)}" for name, (a, b) in names.items()]
        more = f"; and {len(shown) - 5} more" if len(shown) > 5 else ""
        typer.echo(f"{kind} not the same: {'; '.join(shown[:5])}{more}")
    same = sum(check.status == "same" for check in found.checks)
    rule = "bit by bit" if found.same_bits else f"within {TOLERANCE:g} of the number"
    typer.echo(f"{same} of {len(found.checks)} metrics the same, held {rule}: {found.repeat.id}")
    raise typer.Exit(not found.holds)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


@runs_app.command("compare")
def runs_compare(
    run_ids: Annotated[list[str], typer.Argument(metavar="ID ID...")],
    html: Annotated[
        Path | None, typer.Option(help="Write one page with the figures, too; never over a file.")
    ] = None,
    out: Out = Path("runs"),
) -> None:
    """Runs side by side: metrics, and parameters, versions, data and code where they differ."""
    from .reruns import compared, write_comparison
    from .runs import load_run

    _check_places(html)
    runs = [load_run(run_id, out) for run_id in run_ids]
    for kind, rows in compared(runs).items():
        shown = [{kind: name} | dict(zip(run_ids, values)) for name, values in rows]
        print_rows([{k: _short(_text(v)) if k != kind else v for k, v in r.items()} for r in shown])
    if html is not None:
        typer.echo(write_comparison(runs, html))


@runs_app.command("rerun")
def runs_rerun(
    run_id: RunID,
    parameters: Parameters = None,
    out: Out = Path("runs"),
    jobs: Jobs = None,
) -> None:
    """Execute a run's notebooks again into a new run, with some parameters changed."""
    from .reruns import rerun
    from .runs import load_run, usual_jobs
    from .view.html import publish

    changed, options = _pairs(parameters), {"report": publish, "jobs": jobs or usual_jobs()}
    done = rerun(load_run(run_id, out), changed, out=out, **options)
    _show(done)
    if done.status != "completed":
        raise typer.Exit(1)


@runs_app.command("export")
def runs_export(
    run_id: RunID,
    to: Annotated[
        Path | None, typer.Option("--to", help="ID.zip by default; never over a file.")
    ] = None,
    out: Out = Path("runs"),
) -> None:
    """One zip that a colleague opens offline: pages, notebooks, run.json and versions."""
    from .reruns import export
    from .runs import load_run

    typer.echo(export(load_run(run_id, out), to or Path(f"{run_id}.zip")))


def _pairs(parameters: list[str] | None) -> dict[str, str]:
    """KEY=VALUE, as -p takes it."""
    pairs = [text.partition("=") for text in parameters or []]
    if lone := [key for key, equals, _ in pairs if not equals]:
        raise BadParameter("expected KEY=VALUE", record=f"-p {lone[0]}")
    return {key: value for key, _, value in pairs}


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
def explore(
    method: Annotated[
        str,
        typer.Argument(
            help="port, hanet, vissimcc, otpose, stdpose, several by commas, or hide: all five "
            "on a made clip."
        ),
    ],
    image: Annotated[Path | None, typer.Option(help="Your picture.")] = None,
    video: Annotated[Path | None, typer.Option(help="Your video, or folder of pictures.")] = None,
    boxes: Annotated[
        str | None, typer.Option(help="Who is there: x,y,w,h in px; several apart by blanks.")
    ] = None,
    keypoints: Annotated[
        Path | None, typer.Option(help="Or your results, as `predict` takes them.")
    ] = None,
    skeleton: Annotated[str | None, typer.Option(help="Of the keypoints.")] = None,
    first_frame: FirstFrame = None,
    weights: Annotated[
        list[Path] | None, typer.Option(help="Your checkpoint; twice: two that are compared.")
    ] = None,
    show: Annotated[str, typer.Option(help="Of stdpose: mask, attention or player.")] = "",
    state: Annotated[str, typer.Option(help='What "copy state" gave.')] = "",
    html: Annotated[
        Path | None, typer.Option(help="Write the live page here; nothing is written over.")
    ] = None,
    device: Device = "auto",
):
    """Look inside METHOD: its attention, masks and answers on your picture or video.

    Without --html JupyterLab opens chapter 08 filled in, a copy in this folder. Without a picture
    or video, people are made.
    """
    from .exploration import explore as explorer_of
    from .runs import filled_in, lab_command
    from .train import choose_device

    methods = method.split(",")
    files = [str(path) for path in weights or ()]
    if html is None and method == "hide":
        return lab()  # chapter 00 begins with it
    if html is None:
        chosen = {"method": method, "image": image, "video": video, "boxes": boxes}
        chosen |= {"keypoints": keypoints, "skeleton": skeleton, "state": state}
        chosen |= {"first_frame": first_frame}
        chosen |= {"weights": " ".join(files), "show": show, "device": device}
        notebook = filled_in("08_your_own_video", f"explore_{methods[0]}", chosen)
        typer.echo(notebook)
        command = lab_command(notebook)
        os.execv(command[0], command)
    check_new(html)
    explorer = explorer_of(
        methods if len(methods) > 1 else method,
        image=image,
        video=video,
        boxes=boxes,
        keypoints=keypoints,
        skeleton=skeleton,
        first_frame=first_frame,
        weights=files or None,
        show=show,
        state=state or None,
        device=choose_device(device),
    )
    page = explorer.page(f"{method}: {image or video or 'made people'}")
    typer.echo(write_text(html, page))


@app.command()
def lab(
    port: Annotated[
        int, typer.Option(help="The next free one is taken if it is in use.", min=1, max=65535)
    ] = 8888,
    browser: Annotated[bool, typer.Option(help="Open the browser.")] = True,
    folder: Annotated[Path, typer.Option(help="Of the copies.")] = Path("work"),
) -> None:
    """Open JupyterLab on 127.0.0.1, its token on, at copies of the notebooks: yours to run, change
    and save. A copy that you have changed is never written over; the others follow the chapters.
    """
    from .runs import chapter_copies, lab_command, notebook_paths

    folder = folder.resolve()
    for line in chapter_copies(folder):
        typer.echo(line)
    first = next(iter(notebook_paths().values())).name
    command = lab_command(folder / first, port=port) + ([] if browser else ["--no-browser"])
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
