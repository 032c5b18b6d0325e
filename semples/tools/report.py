"""report: one HTML page with the tables and figures of a run, what they were made from and by which commands.

The page needs nothing beside it: pictures are inside, there is no script, and it opens from a file.
"""

import io
import json
import re
from base64 import b64encode
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
from semples.stages.tables.words import NAME as WORDS

CAPTIONS = snakefile().parent / "report"
LARGEST = 15_000_000  # bytes of a page
AS_JPEG = 800_000  # bytes from which on a picture is stored as JPEG
FIRST = ("results", "table_", "words")
SHOWN = ("framework", "prompts", "heatmap", "comparison", "panel", "thresholds", "sensitivity", "confusion", "training")
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
    """Write the page `out`, by default paper.html, of the run in the folder `base`, by default results/<name>."""
    base = base or Path("results", config.name)
    out = out or base / "paper.html"
    tables = sorted((base / "tables").glob("*.md"), key=_place)
    figures = sorted((base / "figures").glob("*.png"), key=lambda path: _index(SHOWN, path.stem))
    if not tables and not figures:
        raise SemplesError(base, "no table and no figure", "those of a run", "run `snakemake tables figures` first")
    parts = [
        _head(config),
        _section("Tables", [_table(path) for path in tables]),
        _section("Figures", [_figure(path) for path in figures]),
        _section("How it was made", [_commands(config), *_provenance(config, base)]),
    ]
    page = "\n".join(parts) + "\n</body></html>\n"
    if len(page.encode()) > LARGEST:
        raise SemplesError(
            out,
            f"{len(page.encode()) / 1e6:.1f} MB",
            f"at most {LARGEST / 1e6:.0f} MB",
            "draw fewer images: lower `figures.images`",
        )
    write_text(out, page)
    print(f"{out}: {len(tables)} tables, {len(figures)} figures, {len(page.encode()) / 1e6:.1f} MB")


def _place(path: Path) -> tuple[int, str]:
    """Results first, then the paper's tables, then words and a user's own."""
    return next((i for i, start in enumerate(FIRST) if path.stem.startswith(start)), len(FIRST)), path.stem


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _head(config: Config) -> str:
    title = f"SemPLeS: {config.name}"
    links = "".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in ("Tables", "Figures", "How it was made"))
    seeds = ", ".join(map(str, config.seeds))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1><p>Weakly supervised semantic segmentation after SemPLeS (arXiv 2401.11791):"
        f" image-level labels in, pseudo masks and a segmentation network out. Preset {escape(config.preset)}, data"
        f" {config.data.source}, seeds {seeds}.</p><nav>{links}</nav>"
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(title: str, parts: list[str]) -> str:
    inside = "\n".join(parts) or "<p>None.</p>"
    return f'<h2 id="{_anchor(title)}">{title}</h2>\n{inside}'


def _table(path: Path) -> str:
    """A Markdown table of this package, its heading before and its legend after it, as HTML."""
    lines = path.read_text(encoding="utf-8").splitlines()
    title = next((line[3:] for line in lines if line.startswith("## ")), path.stem)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    legend = [line for line in lines if line and not line.startswith(("|", "## "))]
    head, *rows = [row for place, row in enumerate(cells) if place != 1] or [[]]
    table = _row("th", head) + "".join(_row("td", row) for row in rows)
    text = "".join(f'<p class="legend">{escape(line)}</p>' for line in legend)
    number = re.sub(r"^table_", "Table ", path.stem)
    body = f'<div class="wide"><table>{table}</table></div>{text}' if head else text
    if path.stem == WORDS:
        body = f"<details><summary>{len(rows)} prompts</summary>{body}</details>"
    heading = number if title == path.stem else f"{number}: {title}"
    return f'<section id="{path.stem}"><h3>{escape(heading)}</h3>{body}</section>'


def _row(kind: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _figure(path: Path) -> str:
    caption = CAPTIONS / f"{path.stem}.rst"
    text = caption.read_text(encoding="utf-8").strip() if caption.exists() else ""
    return (
        f'<figure id="{path.stem}"><img src="{_inside(path)}" alt="{escape(path.stem)}">'
        f"<figcaption><b>{escape(path.stem)}.</b> {escape(text)}</figcaption></figure>"
    )


def _inside(path: Path) -> str:
    """The picture as a data address; a large one as JPEG."""
    data, kind = path.read_bytes(), "png"
    if len(data) > AS_JPEG:
        buffer, kind = io.BytesIO(), "jpeg"
        with Image.open(path) as picture:
            picture.convert("RGB").save(buffer, format="JPEG", quality=88)
        data = buffer.getvalue()
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def _commands(config: Config) -> str:
    given = {"preset": config.preset, "seeds": config.seeds} | ({"name": config.name} if config.name else {})
    commands = [
        "# config.yaml",
        yaml.safe_dump(given, sort_keys=False).strip(),
        "",
        "snakemake --cores all results tables figures",
        "semples report",
    ]
    return (
        "<h3>Commands</h3><p>What differs from the preset besides stands under Settings.</p>"
        f"<pre>{escape(chr(10).join(commands))}</pre>"
    )


def _provenance(config: Config, base: Path) -> list[str]:
    """The settings of the base, and of every variant's maps the record that their file carries."""
    settings = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    parts = [f"<h3>Settings</h3><details><summary>all settings</summary><pre>{escape(settings)}</pre></details>"]
    records = []
    plan = StageGraph(config)
    for name in filter(plan.has_maps, plan.settings):
        path = Path(Layout(str(base)).path("cams", "cams", plan.output_of("cams", name), config.seeds[0]))
        if path.exists():
            stages = ", ".join(sorted(stages_of(plan.settings[name], "cams")))
            records.append(f"<details><summary>{escape(name)} ({stages})</summary><pre>{_record(path)}</pre></details>")
    return [*parts, "<h3>Provenance of the maps, first seed</h3>", *records]


def _record(path: Path) -> str:
    with CamFile(path) as file:
        found = file.provenance | {"settings": json.loads(file.provenance["settings"])}
    return escape(yaml.safe_dump(found, sort_keys=True, allow_unicode=True))
