"""Which frame of a video a record of a file shows, and which of several videos.

The rule, for whoever reads people's own files: a picture's name, where the video is a folder of
pictures; else the number that changes between names; else a number that is stated. Numbers count
from the first frame's: 0 or 1, as far as the file proves it, or as the user says.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..errors import BadRecord

ROBOFLOW = r"(?i)_(jpe?g|png|bmp|webp)\.rf\.[0-9a-z]+\.\w+$"  # what its export makes of .jpg
LABEL_STUDIO = r"[0-9a-f]{8}-"  # what it puts before a name
# around a number: it is of seconds, as in 0.04, frame_1.20s and 00:00:01.040
DECIMALS = r"(^|[^A-Za-z0-9.])\d+[.:]$", r"\.\d{2,6}s?(?![A-Za-z0-9.])"

# --- names ----------------------------------------------------------------------------------------


def whole_number(digits: str) -> int:
    """-1 where there are no digits, or more than in a time in ns."""
    return int(digits) if 0 < len(digits) < 20 else -1


def before_export(name: str) -> PurePosixPath:
    """An image's name as it was before Roboflow's export."""
    return PurePosixPath(re.sub(ROBOFLOW, r".\1", name).replace("\\", "/"))


def stem_of(name: str) -> str:
    """An image's name without folder and suffix, which begins with a letter: clip.0001 has none."""
    return re.sub(r"\.[A-Za-z]\w*$", "", before_export(name).name)


class SplitName(NamedTuple):
    """A name cut around one of its numbers."""

    before: str
    digits: str
    behind: str

    @property
    def number(self) -> int:
        return whole_number(self.digits)


def split_names(stems: Sequence[str], highest: int | None = None) -> list[SplitName | None]:
    """Names cut around the number that changes between those of as many numbers (in a name alone:
    any); None where there is none.

    Of several, it is the last. Where the `highest` number that a frame may have is stated, it is
    the one that never exceeds it, and None where that leaves several, or one of seconds. The eight
    hex digits that Label Studio puts before names count as text: a letter in one of them gives them
    away.
    """
    heads = [re.match(LABEL_STUDIO, stem) for stem in stems]
    hashed = any(head and re.search("[a-f]", head[0]) for head in heads)
    names = []
    for stem, head in zip(stems, heads):
        start = head.end() if head and hashed else 0
        text, *others = re.split(r"(\d+)", stem[start:])
        names.append((stem[:start] + text, *others))

    place_of = {}
    for n in {len(parts) for parts in names}:
        columns = [*zip(*(parts for parts in names if len(parts) == n))]
        numbers = {i: {*map(whole_number, columns[i])} for i in range(1, n, 2)}
        places = [i for i in numbers if len(numbers[i]) > 1] or list(numbers)
        if highest is not None and len(places) > 1:
            places = [i for i in places if max(numbers[i]) <= highest]
            places = places if len(places) == 1 else []
        place_of[n] = places[-1] if places else None
    split = []
    for parts in names:
        i = place_of[len(parts)]
        around = i and SplitName("".join(parts[:i]), parts[i], "".join(parts[i + 1 :]))
        split.append(None if highest is not None and around and _of_seconds(around) else around)
    return split


def _of_seconds(cut: SplitName) -> bool:
    before, behind = DECIMALS
    short = len(cut.digits) < 4  # shot_01.0001 is no time
    return bool((short and re.search(before, cut.before)) or re.match(behind, cut.behind))


def called(pictures: Sequence[str]) -> dict[str, int]:
    """Frames by the names of the pictures that they are, and by these without suffix, where no two
    are alike.
    """
    stems = [PurePosixPath(name).stem for name in pictures]
    twice = {stem for stem, times in Counter(stems).items() if times > 1}
    frames = {stem: frame for frame, stem in enumerate(stems) if stem not in twice}
    return frames | {name: frame for frame, name in enumerate(pictures)}


def picture_called(name: str, frame_of: Mapping[str, int]) -> int | None:
    """The frame of the picture that is called as an image, by name or stem."""
    path = before_export(name)
    uploaded = re.sub("^" + LABEL_STUDIO, "", stem_of(name))
    names = [PurePosixPath(name.replace("\\", "/")).name, path.name, stem_of(name), uploaded]
    return next((frame_of[name] for name in names if name in frame_of), None)


def numbered(pictures: Sequence[str]) -> dict[int, int]:
    """Frames by the numbers in the pictures' names; none where these do not tell them apart."""
    names = split_names([*map(stem_of, pictures)])
    frames = {name.number: frame for frame, name in enumerate(names) if name}
    return frames if len(frames) == len(pictures) and -1 not in frames else {}


# --- which of several videos ----------------------------------------------------------------------


class VideoName(NamedTuple):
    """What tells a video's images from those of others."""

    folder: tuple[str, ...] = ()
    title: str | None = None
    prefix: str | None = None  # of the names, around the number that changes

    def __str__(self) -> str:
        title = [self.title] if self.title else []
        return "/".join((*self.folder, *title, self.prefix or ""))


NAMELESS = VideoName()


def videos_of(
    names: Sequence[str],
    pictures: Sequence[str],
    source: str,
    titles: Sequence[str | None] | None = None,
    added: Sequence[object] | None = None,
) -> list[VideoName]:
    """The video of each image: by the title that it states, by folder, and by what stands around
    the number in its name, where that makes two videos or more with two images each.

    pictures: of the folder `source`, whose names are known to be of one video; added: which images
    a program put there, and which decide nothing.
    """
    paths = [before_export(name) for name in names]
    titles = [None] * len(paths) if titles is None else titles
    added = [None] * len(paths) if added is None else added
    own = {PurePosixPath(picture).stem: name_of(source) for picture in pictures}
    groups = defaultdict(list)
    for i, path in enumerate(paths):
        groups[VideoName(path.parent.parts, titles[i])].append(i)
    videos = {}
    for video, rows in groups.items():
        stems = [stem_of(names[i]) for i in rows]
        split = zip(stems, split_names(stems))
        prefixes = [own.get(stem) or (_prefix(name) if name else stem) for stem, name in split]
        sizes = Counter(prefix for prefix, i in zip(prefixes, rows) if not added[i])
        several = video.title is None and sum(n > 1 for n in sizes.values()) > 1
        for i, prefix in zip(rows, prefixes):
            videos[i] = video._replace(prefix=prefix) if several else video
    return [videos[i] for i in range(len(paths))]


def _prefix(name: SplitName) -> str:
    """What stands around the number in a name, but for further numbers behind it."""
    return name.before + re.sub(r"\d+", "", name.behind)


def name_of(source: str) -> str:
    """A video's name without suffix, or its folder's."""
    place = Path(os.path.abspath(source))
    return place.name.removesuffix("" if place.is_dir() else place.suffix)


def video_called(videos: Sequence[VideoName], source: str) -> VideoName:
    """Of several videos the one that is called as the source is. Folders and titles are compared
    from their ends. `BadRecord` where none, or more than one, is.
    """
    place, name = Path(os.path.abspath(source)), name_of(source)
    suffix = "" if place.is_dir() else place.suffix

    def shared(names: Sequence[str]) -> int:
        pairs = zip(reversed(names), reversed((*place.parts[:-1], name)))
        return [*(a == b for a, b in pairs), False].index(False)

    def likeness(video: VideoName) -> tuple[int, bool]:
        title = PurePosixPath((video.title or "").removesuffix(suffix)).parts
        bare = re.sub(r"(?i)^[\W_]+|[\W_]*(frame|image|img)?[\W_]*$", "", video.prefix or "")
        folder = (*video.folder[:-1], *(last.removesuffix(suffix) for last in video.folder[-1:]))
        return max(shared(folder), shared(title)), name in (bare, video.prefix)

    likenesses = {video: likeness(video) for video in videos if video != NAMELESS}
    best = max(likenesses.values(), default=None)
    chosen = [video for video in likenesses if likenesses[video] == best]
    if len(chosen) > 1:
        names = ", ".join(sorted(map(str, chosen))[:8])
        problem = f"images of several videos, and none is called {name}: {names}"
        remedy = "call the video or its folder as the file does, or keep one video in the file"
        raise BadRecord(problem, remedy=remedy)
    return chosen[0] if chosen else NAMELESS


# --- numbers of frames ----------------------------------------------------------------------------


def possible_firsts(numbers: Sequence[int], n_frames: int, *, open_end: bool = False) -> list[int]:
    """Which of 0 and 1 the number of the first frame can be, so that all numbers are frames'.

    open_end: of a video that was cut nobody knows the end.
    """
    low, high = min(numbers, default=0), max(numbers, default=0)
    return [first for first in (0, 1) if low >= first and (open_end or high - first < n_frames)]
