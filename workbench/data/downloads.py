"""Files over the network: by https alone, no more bytes than are stated, going on where a transfer
broke off.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import requests
from tqdm.auto import tqdm

from ..errors import MissingData, UnsafeFile
from ..outputs import check_room, named_errors

REDIRECTS = 10
SECONDS = 30  # without an answer
_CHUNK = 2**16  # of which the last is lost where a transfer breaks off
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _check_address(url: str) -> None:
    """Nobody on the way may change what comes; on this machine itself nobody is on the way."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return
    raise UnsafeFile(
        f"{url} is not https, nothing was asked of it",
        remedy="fetch it yourself where you trust the network, and say NAME:PATH",
    )


def _answer(url: str, headers: dict[str, str]) -> requests.Response:
    """The answer at the end of all redirects, each of which is looked at before it is followed."""
    for _ in range(REDIRECTS):
        _check_address(url)
        # a packed transfer would have other lengths than the file
        asked = {"Accept-Encoding": "identity", **headers}
        rules = {"stream": True, "allow_redirects": False, "timeout": SECONDS}
        answer = requests.get(url, headers=asked, **rules)
        if not answer.is_redirect:
            return answer
        url = urljoin(url, answer.headers["location"])
        answer.close()
    raise requests.TooManyRedirects(f"more than {REDIRECTS} redirects")


def transfer(url: str, part: Path, most: int | None, *, goes_on: bool, progress: bool) -> None:
    """Writes what the address holds to `part`, which stays when the transfer breaks off.

    most: its bytes, where stated: a longer answer is refused. goes_on: after what `part` holds,
    where the source can; whoever asks for that knows the file's checksum. Errors: `MissingData`,
    `UnsafeFile`, `CannotWrite`.
    """
    there = part.stat().st_size if goes_on and part.exists() else 0
    if most is not None and there >= most:
        there = 0
    try:
        _transfer(url, part, most, there, progress)
    except requests.RequestException as error:
        raise MissingData(
            f"{url} could not be fetched: {error}",
            file=part,
            remedy="check the connection and fetch again",
        ) from None


def _opened(part: Path, *, goes_on: bool) -> BinaryIO:
    """To write at its end, or anew; a link that somebody has put there is not followed."""
    how = os.O_APPEND if goes_on else os.O_TRUNC
    return os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | how, 0o666), "wb")


def _transfer(url: str, part: Path, most: int | None, there: int, progress: bool) -> None:
    with _answer(url, {"Range": f"bytes={there}-"} if there else {}) as answer:
        answer.raise_for_status()
        there = there if answer.status_code == requests.codes.partial_content else 0
        length = answer.headers.get("content-length", "")
        total = there + int(length) if length.isdecimal() else most
        if total is not None:
            check_room(part, total - there)
        bar = {"unit": "B", "unit_scale": True, "desc": url.rpartition("/")[2]}
        with (
            named_errors(part, total),
            _opened(part, goes_on=there > 0) as file,
            tqdm(total=total, initial=there, disable=not progress, **bar) as shown,
        ):
            for chunk in answer.iter_content(_CHUNK):
                there += len(chunk)
                if most is not None and there > most:
                    problem = f"{url} holds more than the {most} bytes that its manifest states"
                    raise UnsafeFile(problem, remedy="the manifest needs a new version")
                file.write(chunk)
                shown.update(len(chunk))
    if total is not None and there < total:
        raise requests.ConnectionError(f"the transfer ended after {there} of {total} bytes")
