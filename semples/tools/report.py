"""report: write one HTML page with the tables and figures of a run, their provenance and the commands.

The page holds its pictures, has no script, and opens from a file.
"""

import io
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from semples.config.settings import Config
from semples.data.cam_file import CamFile
from semples.data.images import read_image
from semples.errors import SemplesError
from semples.files import snakefile, write_text
from semples.planning.graph import StageGraph, maps_of, stages_of
from semples.planning.layout import Layout
from semples.tools.pages import fill

CAPTIONS = snakefile().parent / "report"
LARGEST = 15_000_000  # bytes of a page
AS_JPEG = 800_000  # bytes from which on a picture is stored as JPEG
TABLES = ["results", "table_", "words"]
FIGURES = ["framework", "prompts", "heatmap", "comparison", "panel"]
FIGURES += ["thresholds", "sensitivity", "confusion", "training"]
PAGE_OF_TABLE = r".*<title>(?P<title>[^<]*)</title><style>[^<]*</style>(?P<table><table.*</table>)(?P<legend>.*)"
TAGS = r'</?(table|thead|tbody|tr|th|td|p)( class="dataframe")?( style="text-align: right;")?>'


def run(config: Config, base: Path | None, out: Path | None) -> None:
    """Write the page of a run.

    Args:
        base: Folder of the run; None for results/<name>.
        out: HTML file to write; None for paper.html in `base`.
    Raises:
        SemplesError: The run has no table and no figure, or the page would exceed 15 MB.
    """
    base = base or Path("results", config.name)
    out = out or base / "paper.html"
    tables, figures = _ordered(base, "tables/*.html", TABLES), _ordered(base, "figures/*.png", FIGURES)
    if not tables and not figures:
        raise SemplesError(base, "no table and no figure", "those of a run", "run `snakemake tables figures` first")
    settings = _yaml({"preset": config.preset, "seeds": config.seeds, "name": config.name})
    page = fill(
        "report.html",
        title=escape(f"SemPLeS: {config.name}"),
        preset=escape(config.preset),
        source=config.data.source,
        seeds=", ".join(map(str, config.seeds)),
        tables="\n".join(map(_table, tables)) or "<p>None.</p>",
        figures="\n".join(map(_figure, figures)) or "<p>None.</p>",
        commands=f"# config.yaml\n{settings}\nsnakemake --cores all results tables figures\nsemples report",
        settings=_yaml(config.model_dump(mode="json")),
        provenance="".join(f"\n{part}" for part in _provenance(config, base)),
    )
    size = len(page.encode())
    if size > LARGEST:
        remedy = "draw fewer images: lower `figures.images`"
        raise SemplesError(out, f"{size / 1e6:.1f} MB", f"at most {LARGEST / 1e6:.0f} MB", remedy)
    write_text(out, page)
    print(f"{out}: {len(tables)} tables, {len(figures)} figures, {size / 1e6:.1f} MB")


def _ordered(base: Path, pattern: str, prefixes: list[str]) -> list[Path]:
    """Return the files of a run by the first prefix that their names begin with; unknown names come last."""
    names = {path: path.stem for path in base.glob(pattern)}
    return sorted(names, key=lambda path: ([*map(names[path].startswith, prefixes), True].index(True), names[path]))


def _table(path: Path) -> str:
    """Return the table and legend of a page that stages.tables.formats wrote; text without any other tag."""
    page = re.fullmatch(PAGE_OF_TABLE, path.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    if page is None or "<" in re.sub(TAGS, "", page["table"] + page["legend"]):
        raise SemplesError(path, "another page", "a table that semples wrote", "move it out of the folder `tables`")
    title, table = page["title"], page["table"]
    legend = [line for line in re.findall("<p>(.+?)</p>", page["legend"]) if line != title]
    number = escape(re.sub(r"^table_", "Table ", path.stem))
    heading = number if title.lower() == path.stem else f"{number}: {title}"
    region = f'<div class="wide" role="region" aria-label="{number}" tabindex="0">{table}</div>'
    wide = region if "<td" in table else ""  # a run without ground truth has no row
    body = wide + "".join(f'<p class="legend">{line}</p>' for line in legend)
    if path.stem == "words":
        body = f"<details><summary>{table.count('<tr') - 1} prompts</summary>{body}</details>"
    return f'<section id="{escape(path.stem)}"><h3>{heading}</h3>{body}</section>'


def _figure(path: Path) -> str:
    caption = CAPTIONS / f"{path.stem}.rst"
    text = escape(caption.read_text(encoding="utf-8").strip()) if caption.exists() else ""
    name = escape(path.stem)
    picture = f'<img src="{_data_url(path)}" alt="{text.partition(".")[0] or name}">'
    return f'<figure id="{name}">{picture}<figcaption><b>{name}.</b> {text}</figcaption></figure>'


def _data_url(path: Path) -> str:
    """Return a picture as a data URL; a large one becomes a JPEG."""
    picture, data, kind = read_image(path), path.read_bytes(), "png"
    if len(data) > AS_JPEG:
        buffer, kind = io.BytesIO(), "jpeg"
        Image.fromarray(picture).save(buffer, format="JPEG", quality=88)
        data = buffer.getvalue()
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def _provenance(config: Config, base: Path) -> Iterator[str]:
    """Yield the provenance that the file of CAMs of each variant carries, of refined ones where there are any."""
    graph, layout = StageGraph(config), Layout(str(base))
    for name in filter(partial(graph.has, "cams"), graph.settings):
        maps = maps_of(graph.settings[name])
        path = Path(layout.path(maps, "cams", graph.output_of(maps, name), config.seeds[0]))
        if path.exists():
            with CamFile(path) as cams:
                record: dict[str, Any] = dict(cams.provenance)
            with suppress(KeyError, ValueError):  # a file of other software
                record["settings"] = json.loads(record["settings"])
            title = f"{escape(name)} ({', '.join(sorted(stages_of(graph.settings[name], maps)))})"
            text = _yaml(record, sort_keys=True)
            yield f"<details><summary>{title}</summary><pre>{text}</pre></details>"


def _yaml(values: dict, sort_keys: bool = False) -> str:
    return escape(yaml.safe_dump(values, sort_keys=sort_keys, allow_unicode=True))
