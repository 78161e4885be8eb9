"""README's pictures, taken by chromium from the pages of a run: `make pictures`, or

    .venv/bin/python .ci/pictures.py [RUN] [--out notebooks/pictures]

RUN: a run's folder; the newest in runs/ that has all chapters by default. What is there is
replaced: it is made by this command alone. CHROMIUM names the browser, /usr/bin/chromium otherwise.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 1100, 2400  # of the window, px
MOST_BYTES = 1_500_000  # of all pictures
WIDGET, FIGURE = ".workbench-view-page", ".wb-sheet"
# chapter -> what of its page: the first of it that is in sight, how wide a picture is in px, and
# the most of its height that is taken, as a share of its width
SHOWN = {
    "00_start_here": ((WIDGET, FIGURE), 1000, 0.75),
    "01_data_and_occlusion": ((WIDGET, FIGURE), 560, 0.75),
    "02_port": ((WIDGET, FIGURE), 560, 0.75),
    "03_hanet": ((WIDGET, FIGURE), 560, 0.75),
    "04_visibility": ((WIDGET, FIGURE), 560, 0.75),
    "05_otpose": ((WIDGET, FIGURE), 560, 0.75),
    "06_stdpose": ((WIDGET, FIGURE), 560, 0.75),
    "07_side_by_side": ((f"{FIGURE} >> nth=1", WIDGET), 560, 0.95),
    "08_your_own_video": ((WIDGET, FIGURE), 560, 0.75),
}


def newest() -> Path:
    """The last run that has a page of every chapter."""
    for run in sorted(ROOT.glob("runs/*/"), reverse=True):
        if all((run / f"{name}.html").exists() for name in SHOWN):
            return run
    sys.exit("no run of all chapters in runs/: `make run` first")


def photographed(page, file: Path, kinds: tuple[str, ...], most: float) -> Image.Image:
    """What is shown of a page, cut off at the bottom where it is higher than `most` of its
    width.
    """
    page.goto(file.resolve().as_uri())
    page.wait_for_timeout(2_000)  # widgets draw, and take their first answer from what is stored
    page.evaluate("for (const one of document.querySelectorAll('.answer')) one.hidden = false")
    for kind in kinds:
        places = page.locator(kind)
        for i in range(places.count()):
            if places.nth(i).is_visible():
                picture = Image.open(io.BytesIO(places.nth(i).screenshot(animations="disabled")))
                high = min(picture.height, round(most * picture.width))
                return picture.convert("RGB").crop((0, 0, picture.width, high))
    sys.exit(f"{file}: nothing to show, no {' and no '.join(kinds)}")


def take(run: Path, out: Path, names: list[str]) -> int:
    """Pictures of these chapters as WebP files; how many bytes they have."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        size = {"width": WIDTH, "height": HEIGHT}
        page = browser.new_page(viewport=size, color_scheme="light", device_scale_factor=2)
        for name in names:
            kinds, width, most = SHOWN[name]
            picture = photographed(page, run / f"{name}.html", kinds, most)
            picture = picture.resize((width, round(width * picture.height / picture.width)))
            picture.save(out / f"{name}.webp", quality=85, method=6)
        browser.close()
    return sum(path.stat().st_size for path in out.glob("*.webp"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "notebooks" / "pictures")
    parser.add_argument("--only", nargs="*", choices=SHOWN, default=list(SHOWN))
    asked = parser.parse_args()
    total = take(asked.run or newest(), asked.out, asked.only)
    print(f"{asked.out}: {total / 1e6:.2f} MB")
    if total > MOST_BYTES:
        sys.exit(f"more than {MOST_BYTES / 1e6} MB: make them smaller")


if __name__ == "__main__":
    main()
