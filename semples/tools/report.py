"""report: write one HTML page with the tables and figures of a run, their provenance and the commands.

The page holds its pictures, has no script, and opens from a file.
"""

import io
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import yaml
from PIL import Image

from semples.config.settings import Config
from semples.data.cam_file import CamFile
from semples.errors import SemplesError
from semples.files import snakefile, write_text
from semples.planning.graph import StageGraph, stages_of
from semples.planning.layout import Layout

CAPTIONS = snakefile().parent / "report"
LARGEST = 15_000_000  # bytes of a page
AS_JPEG = 800_000  # bytes from which on a picture is stored as JPEG
TABLES = ("results", "table_", "words")
FIGURES = (
    *("framework", "prompts", "heatmap", "comparison", "panel"),
    *("thresholds", "sensitivity", "confusion", "training"),
)
SECTIONS = ("Tables", "Figures", "How it was made")
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;margin:0 auto;max-width:70rem;padding:1rem 1.5rem 4rem}
h1{font-size:1.7rem}h2{border-bottom:2px solid #0072b2;margin-top:3rem}h3{margin-top:2rem}
nav a{margin-right:1rem;white-space:nowrap}a{color:#0072b2}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:left;vertical-align:top}
th{border-bottom:2px solid #555}
p.legend,figcaption{color:#444;font-size:.9rem}figure{margin:2rem 0}img{max-width:100%;height:auto}
pre{background:#f4f4f4;padding:.8rem;overflow-x:auto;font-size:.8rem}summary{cursor:pointer}
"""


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
    tables = sorted((base / "tables").glob("*.html"), key=lambda path: (_rank(TABLES, path.stem), path.stem))
    figures = sorted((base / "figures").glob("*.png"), key=lambda path: (_rank(FIGURES, path.stem), path.stem))
    if not tables and not figures:
        raise SemplesError(base, "no table and no figure", "those of a run", "run `snakemake tables figures` first")
    contents = (map(_table, tables), map(_figure, figures), [_commands(config), *_provenance(config, base)])
    parts = [_head(config), *map(_section, SECTIONS, contents)]
    page = "\n".join(parts) + "\n</body></html>\n"
    size = len(page.encode()) / 1e6
    if size > LARGEST / 1e6:
        remedy = "draw fewer images: lower `figures.images`"
        raise SemplesError(out, f"{size:.1f} MB", f"at most {LARGEST / 1e6:.0f} MB", remedy)
    write_text(out, page)
    print(f"{out}: {len(tables)} tables, {len(figures)} figures, {size:.1f} MB")


def _rank(prefixes: Sequence[str], name: str) -> int:
    """Return the position of the first prefix of a name; unknown names come last."""
    return next((rank for rank, prefix in enumerate(prefixes) if name.startswith(prefix)), len(prefixes))


def _head(config: Config) -> str:
    title = escape(f"SemPLeS: {config.name}")
    links = "".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in SECTIONS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>{title}</h1><p>Weakly supervised semantic segmentation after SemPLeS (arXiv 2401.11791):"
        f" image-level labels in, pseudo masks and a segmentation network out. Preset {escape(config.preset)}, data"
        f" {config.data.source}, seeds {', '.join(map(str, config.seeds))}.</p><nav>{links}</nav>"
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(title: str, parts: Iterable[str]) -> str:
    inside = "\n".join(parts) or "<p>None.</p>"
    return f'<h2 id="{_anchor(title)}">{title}</h2>\n{inside}'


def _table(path: Path) -> str:
    """Return the table and legend of a page that stages.tables.formats wrote."""
    page = path.read_text(encoding="utf-8")
    title = page.partition("<title>")[2].partition("</title>")[0]
    table = page[page.index("<table") : page.index("</table>")] + "</table>"
    legend = [line for line in re.findall("<p>(.+?)</p>", page) if line != title]
    number = escape(re.sub(r"^table_", "Table ", path.stem))
    heading = number if title.lower() == path.stem else f"{number}: {title}"
    body = f'<div class="wide">{table}</div>' + "".join(f'<p class="legend">{line}</p>' for line in legend)
    if path.stem == "words":
        body = f"<details><summary>{table.count('<tr') - 1} prompts</summary>{body}</details>"
    return f'<section id="{escape(path.stem)}"><h3>{heading}</h3>{body}</section>'


def _figure(path: Path) -> str:
    caption = CAPTIONS / f"{path.stem}.rst"
    text = caption.read_text(encoding="utf-8").strip() if caption.exists() else ""
    return (
        f'<figure id="{path.stem}"><img src="{_data_url(path)}" alt="{escape(path.stem)}">'
        f"<figcaption><b>{escape(path.stem)}.</b> {escape(text)}</figcaption></figure>"
    )


def _data_url(path: Path) -> str:
    """Return a picture as a data URL; a large one becomes a JPEG."""
    data, kind = path.read_bytes(), "png"
    if len(data) > AS_JPEG:
        buffer, kind = io.BytesIO(), "jpeg"
        with Image.open(path) as picture:
            picture.convert("RGB").save(buffer, format="JPEG", quality=88)
        data = buffer.getvalue()
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def _commands(config: Config) -> str:
    settings = yaml.safe_dump({"preset": config.preset, "seeds": config.seeds, "name": config.name}, sort_keys=False)
    commands = f"# config.yaml\n{settings}\nsnakemake --cores all results tables figures\nsemples report"
    return f"<h3>Commands</h3><p>All other settings are listed below.</p><pre>{escape(commands)}</pre>"


def _provenance(config: Config, base: Path) -> list[str]:
    """Return the settings of the run, and the provenance that the CAM file of each variant carries."""
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    parts = [f"<h3>Settings</h3><details><summary>all settings</summary><pre>{escape(settings)}</pre></details>"]
    parts += ["<h3>Provenance of the CAMs, first seed</h3>"]
    graph, layout = StageGraph(config), Layout(str(base))
    for name in filter(graph.has_maps, graph.settings):
        path = Path(layout.path("cams", "cams", graph.output_of("cams", name), config.seeds[0]))
        if path.exists():
            with CamFile(path) as cams:
                record = cams.provenance | {"settings": json.loads(cams.provenance["settings"])}
            text = escape(yaml.safe_dump(record, sort_keys=True, allow_unicode=True))
            stages = ", ".join(sorted(stages_of(graph.settings[name], "cams")))
            parts.append(f"<details><summary>{escape(name)} ({stages})</summary><pre>{text}</pre></details>")
    return parts
