"""Take the documentation's screenshots of gallery, review page and report, from a finished run of ./config.yaml.

python docs/images/screenshots.py results/mini docs/images
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from semples.cli import main as semples
from semples.errors import SemplesError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = ("background-networking", "component-update", "sync", "gpu", "quic", "dev-shm-usage")
SIZE = (1200, 800)  # pixels
COLOURS = 256  # of a picture, which keeps it small


def main(run: Path, out: Path) -> int:
    """Write `out`/gallery.png, review.png and report.png; print what each page writes to the console of the browser.

    Returns:
        0, or 1 if a page wrote something or could not be made.
    """
    try:
        browser = find_browser()
    except SemplesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    cams, masks = run / "cams/csr-learned/seed0/cams.h5", run / "crf/csr-learned/seed0/masks"
    shown = [str(cams), "--masks", str(masks), "--threshold", "0.3"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {
            "gallery.html": ["gallery", *shown, "--images", "60"],
            "review/index.html": ["review", *shown, "--images", "12"],
            "report.html": ["report", "--base", str(run)],
        }
        lines = 0
        for page, command in commands.items():
            output = folder / page.removesuffix("/index.html")
            if semples([*command, "--out", str(output)]):
                return 1
            picture = out / f"{Path(page).parts[0].removesuffix('.html')}.png"
            written = take(browser, folder / page, picture)
            size = picture.stat().st_size / 1000
            print(f"{picture}: {size:.0f} kB, {len(written)} console messages", *written, sep="\n")
            lines += len(written)
    return int(lines > 0)


def find_browser() -> str:
    """Return the path of Chromium or Chrome; raise SemplesError without one."""
    for path in map(shutil.which, BROWSERS):
        if path:
            return path
    raise SemplesError("screenshots", "no browser", f"one of {', '.join(BROWSERS)}", "install Chromium")


def visit(browser: str, address: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a new profile of a browser without a window; return what the browser prints."""
    with tempfile.TemporaryDirectory() as profile:
        fixed = ["--headless", "--no-sandbox", "--no-first-run", "--enable-logging=stderr"]
        fixed += [f"--user-data-dir={profile}", "--virtual-time-budget=10000", *(f"--disable-{name}" for name in QUIET)]
        command = [browser, *fixed, *flags, address]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


def messages(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what the page wrote to the console of the browser."""
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def take(browser: str, page: Path, picture: Path) -> list[str]:
    """Write the PNG `picture` of the top of an HTML file; return what the page wrote to the console."""
    window = "--window-size={},{}".format(*SIZE)
    done = visit(browser, page.resolve().as_uri(), f"--screenshot={picture.resolve()}", "--hide-scrollbars", window)
    with Image.open(picture) as image:
        small = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
    small.save(picture, optimize=True)
    return messages(done)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
