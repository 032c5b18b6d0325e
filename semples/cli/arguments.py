"""The flags of all commands."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semples.cli.commands import Command

Flag = tuple[tuple[str, ...], dict[str, Any]]  # names and options of argparse's add_argument


def add_flags(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add the flags of a row of the table of commands."""
    for key in command.flags.split():
        group: Any = parser.add_mutually_exclusive_group(required=True) if "|" in key else parser
        for names, options in map(flag_of, key.split("|")):
            group.add_argument(*names, **options | ({"required": False} if "|" in key else {}))


def flag_of(key: str) -> Flag:
    """Return a flag; that of `key?` may be left out, or be without a value: the workflow passes what a rule has."""
    names, options = FLAGS[key.removesuffix("?")]
    return names, options | ({"required": False, "nargs": "?"} if key.endswith("?") else {})


def _flag(*names: str, **options: Any) -> Flag:
    return names, options


def _path(name: str, help_text: str, required: bool = True, **options: Any) -> Flag:
    return _flag(name, **{"type": Path, "required": required, "help": help_text} | options)


def _pairs(name: str, help_text: str, **options: Any) -> Flag:
    return _flag(name, **{"type": _pair, "metavar": "TITLE=PATH"} | options, nargs="*", default=[], help=help_text)


def _runs(name: str, help_text: str, dest: str) -> Flag:
    return _pairs(name, help_text, dest=dest, type=_run, metavar="VARIANT:SEED=PATH")


def _pair(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=PATH")
    return name, Path(path)


def _run(text: str) -> tuple[str, int, Path]:
    name, path = _pair(text)
    variant, _, seed = name.rpartition(":")
    if not seed.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: expected VARIANT:SEED=PATH")
    return variant, int(seed), path


def _number(kind: type[int] | type[float], low: float, high: float) -> Callable[[str], float]:
    """Return the type of a flag that takes a number in a range, the one of its setting where it has one."""

    def number(text: str) -> float:
        if not low <= kind(text) <= high:
            raise argparse.ArgumentTypeError(f"{text}: expected {low} to {high}")
        return kind(text)

    return number


def _shard(text: str) -> str:
    number, _, shards = text.partition("-of-")
    if not (number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected N-of-M, such as 2-of-4")
    return text


def _words(text: str) -> dict[str, list[str]]:
    values = json.loads(text)
    if not isinstance(values, dict) or not all(isinstance(words, list) for words in values.values()):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a JSON object with a list of words per class")
    return values


def _table_spec(text: str) -> object:
    from semples.stages.tables.paper import Spec  # it imports pandas, which no other command line needs

    return Spec.model_validate_json(text)


_COUNT, _SIDE, _FEW = _number(int, 1, 1_000_000), _number(int, 16, 32_768), _number(int, 1, 1024)
_FRACTION, _SCALE, _SEED = _number(float, 0, 1), _number(float, 0.01, 16), _number(int, 0, 2**32 - 1)
_MASK_FORMATS = ("coco", "yolo", "cvat", "labelstudio", "voc")
_LIBRARIES = ("timm", "smp", "transformers", "sam")
_MANIFEST = "manifest.csv that `semples data` wrote"

FLAGS: dict[str, Flag] = {
    "action": _flag("action", nargs="?", choices=("show",), default="show", help="print the settings"),
    "against": _flag("--against", choices=("published",), help="print the settings beside the paper's, as a table"),
    "annotations": _flag("export", type=Path, help="JSON of Label Studio; zip or XML of CVAT"),
    "at_once": _flag("--at-once", type=_COUNT, default=1, help="number of jobs that run at the same time"),
    "base": _path("--base", "folder of a run, results/<name>"),
    "calibrate": _flag(
        "--calibrate",
        type=_COUNT,
        nargs="?",
        const=20,
        metavar="SECONDS",
        help="first measure this machine, for about so many seconds; default: 20",
    ),
    "cam_files": _pairs("--cams", "HDF5 files of CAMs"),
    "cams": _path("--cams", "HDF5 file that `semples cams` or `semples refine` wrote"),
    "checkpoint": _path("--checkpoint", "model.safetensors that `semples segment` wrote"),
    "class": _flag("--class", dest="class_name", metavar="NAME", help="show only the map of this class"),
    "classes": _path("--classes", "classes.csv beside the manifest", dest="classes_file"),
    "compare": _path("--compare", "print the differences from another file of CAMs", False, metavar="OTHER"),
    "config": _flag("--config", default="config.yaml", help="YAML file, or settings as JSON text"),
    "config_file": _flag("--config", type=Path, default=Path("config.yaml"), help="YAML file"),
    "cores": _flag("--cores", type=_FEW, help="cores to use; default: all"),
    "copy": _flag("--copy", action="store_true", help="copy the rules, to edit them, instead of using the package's"),
    "device": _flag("--device", choices=("auto", "cpu", "cuda"), help="instead of `run.device`"),
    "evaluation": _path("--evaluation", "JSON that `semples evaluate --cams` wrote"),
    "evaluations": _runs("--evaluation", "JSON of an evaluation of CAMs", dest="evaluations"),
    "experiment": _flag("--experiment", help="one of `experiments`; default: the base settings"),
    "figure": _path("--out", "PNG to write; a PDF is written beside it"),
    "file": _flag("file", type=Path, help="HDF5 file that `semples cams` wrote"),
    "folder": _flag("folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help="default: this folder"),
    "foreign": _path("--foreign", "maps of another method, for `masks_from: foreign`"),
    "format": _flag("--format", choices=("onnx", "torchscript"), default="onnx", help="file format"),
    "gallery_masks": _path("--masks", "folder of pseudo masks to show instead of thresholded CAMs", False),
    "gallery_threshold": _flag("--threshold", type=_FRACTION, default=0.45, help="background threshold; default: 0.45"),
    "generator": _path("--generator", "model.safetensors of the mask generator"),
    "guide_model": _flag("--guide", metavar="MODEL", help="open_clip's MODEL/TAG, hf-hub:ID or local-dir:FOLDER"),
    "guide": _path("--guide", "folder that `semples guide` wrote"),
    "image": _flag("--image", metavar="ID", help="show the maps of this image"),
    "images": _flag("--images", type=_COUNT, default=200, help="most images on the page; default: 200"),
    "kind": _flag("--kind", choices=("crf", "segment"), default="crf", help="stage that wrote the masks"),
    "least_area": _flag("--least-area", type=_COUNT, default=1, help="pixels that a connected region must have"),
    "library": _flag("--library", choices=_LIBRARIES, required=True, help="library that has it"),
    "log_lines": _flag("--lines", type=_COUNT, default=40, help="last lines of each log; default: 40"),
    "manifest": _path("--manifest", _MANIFEST),
    "manual": _flag("--manual", type=_words, default={}, metavar="JSON", help="words written by hand, by class"),
    "mask_folders": _pairs("--masks", "folders of masks"),
    "mask_format": _flag("--format", choices=_MASK_FORMATS, required=True, help="format of the masks"),
    "maps": _path("--maps", "the guide's own maps: HDF5 file that `semples cams` wrote with `masks_from: guide`"),
    "masks": _path("--masks", "folder of mask PNGs named <id>.png"),
    "max_side": _flag("--max-side", type=_SIDE, default=1024, help="downscale larger photographs to so many pixels"),
    "metrics": _pairs("--metrics", "metrics.jsonl files"),
    "model": _flag("--model", required=True, help="name of the backbone in that library"),
    "names": _flag("--names", action="store_true", help="also draw the name of each image's class"),
    "note": _flag("--note", default="", help="text below the table: the data and settings that it holds for"),
    "out": _path("--out", "output path"),
    "outlines": _flag("--outlines", choices=("rle", "polygons"), default="rle", help="coco: polygons fill holes"),
    "own_manifest": _path("--manifest", f"{_MANIFEST}; default: that of the run the file belongs to", False),
    "page": _path("--out", "HTML file to write"),
    "quick": _flag("--quick", action="store_true", help="maps of the guide alone; train nothing"),
    "random": _flag("--random", type=_SEED, metavar="SEED", help="images drawn at random, for an honest mIoU"),
    "report_page": _path("--out", "HTML file to write; default: paper.html in that folder", False),
    "photographs": _flag("photos", type=Path, metavar="PHOTOS", help="class folders, or a table of labels"),
    "photos": _flag("photos", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER", help="photographs, or folders of them"),
    "prefix": _flag("--prefix", default="", help="labelstudio: text before the file names of the images"),
    "preset": _flag("--preset", default="mini", help="mini, photos, voc12, coco14, or a YAML file; default: mini"),
    "prompt_bank": _path("--prompts", "prompts.safetensors that `semples cpl` wrote"),
    "prompts": _pairs("--prompts", "prompts.safetensors files"),
    "results": _flag("results", type=Path, help="folder of masks, or folder of a run that has one"),
    "review_format": _flag("--format", choices=_MASK_FORMATS, default="cvat", help="of the masks; default: cvat"),
    "review_images": _flag("--images", type=_COUNT, default=20, help="number of images; default: 20"),
    "rows": _runs("--evaluation", "JSON of an evaluation", dest="rows"),
    "run": _flag("--run", metavar="JSON", help="settings of `run` as JSON text; default: $SEMPLES_RUN"),
    "run_out": _path("--out", "folder to write into; default: <PHOTOS>-semples in this folder", False),
    "run_folder": _path("--base", "folder of the run; default: results/<name>", False),
    "run_folders": _flag("runs", type=Path, nargs=2, metavar="RUN", help="folder of a run, results/<name>"),
    "save": _path("--save", "draw the maps over the photograph", False, metavar="PNG"),
    "scales": _flag("--scales", type=_SCALE, nargs="+", default=[], help="test scales; default: those of the training"),
    "schema": _flag("--schema", action="store_true", help="print the JSON schema of config.yaml"),
    "seed": _flag("--seed", type=_SEED, default=0, help="random seed"),
    "segment": _flag("--segment", action="store_true", help="also train a segmentation network on the masks"),
    "set": _flag("--set", nargs="+", default=[], metavar="KEY=VALUE", help="override settings as `snakemake --config`"),
    "shard": _flag("--shard", type=_shard, metavar="N-of-M", help="share of the images for this job; default: all"),
    "shards": _path("--shards", "files of `cams`, or folders of `crf`", nargs="+"),
    "size": _flag("--size", type=_SIDE, nargs=2, default=[512, 512], metavar=("HEIGHT", "WIDTH"), help="input size"),
    "source": _flag("--config", dest="source", default="config.yaml", help="YAML file"),
    "spec": _flag("--table", dest="spec", type=_table_spec, required=True, help="name, title, rows, legend as JSON"),
    "split": _flag("--split", required=True, help="split of the manifest"),
    "start": _path("--start", "model.safetensors to start from"),
    "tables": _path("--tables", "CSVs of `semples tables paper`", nargs="+"),
    "tables_out": _path("--out", "folder to write into"),
    "targets": _flag("targets", nargs="*", default=["all"], help="all, results, tables, figures, or names of tables"),
    "test_split": _flag("--split", default="test", help="split of the manifest"),
    "texts": _flag("--text", dest="texts", nargs="+", default=[], help="texts to look for"),
    "threshold": _flag("--threshold", type=_FRACTION, required=True, help="background threshold of the IoU that ranks"),
    "trained": _flag("--trained", action="store_true", help="also the stages that train on the labels"),
    "threads": _flag("--threads", type=_FEW, help="CPU threads or processes, instead of `run.threads`"),
    "yes": _flag("--yes", action="store_true", help="start without asking"),
    "weights": _path("--weights", "safetensors file that `semples weights` wrote"),
    "what": _flag("what", nargs="?", choices=["check"], help="only report on the data set"),
    "words": _path("--words", "words.csv of learned prompts"),
    "words_files": _runs("--words", "words.csv of one run of cpl", dest="words"),
}
