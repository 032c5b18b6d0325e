# Finds the package, reads the configuration, and holds the functions that the rules call.
import io
import json
import os
import re
import shlex
import sys
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

SOURCE = workflow.current_basedir


def extracted():
    """Extract the package from the git source of this file into a folder named by its content; return that folder."""
    import git  # Snakemake needs it for git sources, too

    repo = git.Repo(SOURCE.repo_path) if SOURCE.is_local else SOURCE.hosted_repo.repo
    path = PurePosixPath(SOURCE.path).parents[1] / "semples"
    tree = repo.commit(SOURCE.ref).tree[str(path)].hexsha
    folder = Path(".snakemake/semples", tree).absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        archive = io.BytesIO()
        repo.archive(archive, tree, prefix="package/semples/")
        archive.seek(0)
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            # Python 3.11.3 and older have no filters; the archive is that of the git source
            filters = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tarfile.open(fileobj=archive).extractall(partial, **filters)
            with suppress(OSError):  # another process was first
                Path(partial, "package").rename(folder)
    return folder


# The package lies in the git source of this workflow, beside it in a checkout, around it in a wheel, or is installed.
ROOT = extracted() if hasattr(SOURCE, "ref") else Path(str(SOURCE)).parents[1]
sys.path.insert(0, str(ROOT.parent if (ROOT / "__init__.py").exists() else ROOT))
try:
    from semples.files import isolated_package
except ModuleNotFoundError as error:
    raise WorkflowError(
        f"{SOURCE}: {error}. This workflow needs the package semples and what it imports while it plans."
        " Run `pip install PATH` in Snakemake's environment; PATH is a checkout of the repository, or its wheel."
    ) from None

from snakemake.logging import logger

from semples.config.load import load
from semples.config.parse import read_yaml
from semples.data.importers.listing import table_files
from semples.errors import SemplesError
from semples.planning.graph import STAGE_OF_COLUMN
from semples.planning.targets import Targets
from semples.provenance import code_digest

# Snakemake's own reader takes the second of two equal keys without a word, and ends in a traceback for a binary file.
FILES = [] if workflow.modifier.skip_configfile else ["config.yaml"]
try:
    for path in {*FILES, *workflow.configfiles}:
        if Path(path).suffix in (".yaml", ".yml") and Path(path).exists():
            read_yaml(Path(path))
except SemplesError as error:
    raise WorkflowError(str(error)) from None


configfile: "config.yaml"


try:
    CONFIG = load(config)
    # `voc` and `coco` are downloaded unless `data.root` names their folder.
    DOWNLOADED = CONFIG.data.source in ("voc", "coco") and not CONFIG.data.root
    if DOWNLOADED:
        CONFIG.data.root = f"downloads/{CONFIG.data.source}"
    SHOWN = Targets(CONFIG)
    SHOWN.require_inputs()
    # Without conda or containers the jobs run in this environment.
    if not workflow.deployment_settings.deployment_method:
        SHOWN.require_packages()
except SemplesError as error:
    raise WorkflowError(str(error)) from None
if workflow.is_main_process:
    logger.info(
        f"semples: preset {CONFIG.preset}, data {CONFIG.data.root or CONFIG.data.source}, seeds {CONFIG.seeds},"
        f" experiments {', '.join(CONFIG.experiments)}, into results/{CONFIG.name}"
    )
    if CONFIG.guide.model == "mini" and CONFIG.data.source != "mini":
        logger.warning(
            "semples: the guide `mini` knows drawings only; photographs need another preset or `guide.model`"
        )

GRAPH = SHOWN.graph
TREE = GRAPH.layout
# jobs inherit it; a folder that the user names for all runs stays
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(TREE.compiled()).absolute()))
GPU = 0 if CONFIG.run.device == "cpu" else 1
GPUS = GPU * CONFIG.run.devices  # of a learning job

# How a job runs is passed in the environment, not as params: it changes no result, so a change must rerun nothing.
# A prefix replaces Snakemake's own, `set -euo pipefail`, for all rules of a workflow that uses this one as a module.
RUN = shlex.quote(CONFIG.run.model_dump_json(exclude={"threads"}))
PACKAGE = f'{isolated_package()}"${{PYTHONPATH:+:$PYTHONPATH}}"'
PREFIX = f"set -euo pipefail; export PYTHONPATH={PACKAGE} SEMPLES_RUN={RUN}; "
shell.prefix(PREFIX.replace("{", "{{").replace("}", "}}"))


# Several jobs of cams, refine and crf share the images; a single job needs no join.
scattergather:
    shards=CONFIG.run.shards,


SHARDED = CONFIG.run.shards > 1
PART = "{scatteritem}" if SHARDED else ""


wildcard_constraints:
    variant="[^/]+",
    seed=r"\d+",
    kind="crf|segment",
    source="voc|coco",
    table="|".join(map(re.escape, CONFIG.tables)) or "none",


def settings_of(stage):
    """Return a params function: the settings of a stage for the rule's variant."""
    return lambda wildcards: GRAPH.settings_json(stage, wildcards.variant)


def made_by(stage, output):
    """Return an input function: an output of another stage, for the rule's variant and seed."""
    return lambda wildcards: GRAPH.path(
        stage, output, wildcards.variant, wildcards.get("seed")
    )


def input_of(stage, role):
    """Return an input function: the files that a stage reads in a role of StageGraph.input_of; it may have none."""
    return lambda wildcards: GRAPH.input_of(
        stage, role, wildcards.variant, wildcards.seed
    )


def minutes(stage):
    """Return a resource function: the minutes that a job of a stage asks for, by the estimate of semples plan."""
    return lambda wildcards: SHOWN.minutes(stage, wildcards.variant)


def threads_of(stage):
    """Return a threads function: `run.threads`; on this machine all cores for a job that runs alone."""

    def threads(wildcards):
        cores = workflow.resource_settings.cores if workflow.local_exec else None
        return SHOWN.threads(stage, wildcards.variant, cores or 1)

    return threads


# On the CPU a rule is the more urgent, the more rules wait for it, so that no core idles at the end. A GPU takes jobs one
# after the other, where another order would only delay the first results.
URGENT = [
    "segment_masks",
    "segment",
    "crf",
    "evaluate_refine",
    "refine",
    "evaluate_cams",
]
URGENT += ["cams", "joint", "csr", "cpl", "slm", "guide", "classify"]


def priority_of(rule):
    """Return the priority of a rule's jobs."""
    return 0 if GPU else 1 + URGENT.index(rule)


def learner(stage):
    """Return the resources of a job that trains on the GPUs of `run.devices`."""
    return {"gpu": GPUS, "mem_mb": 12000, "runtime": minutes(stage)}


def arguments(*inputs, shown=None, **options):
    """Return a params function: flags for some inputs, further options, and what a table or figure shows.

    An input that a job does not have gives no flag. The guide is named by its folder.
    """

    def command_line(wildcards, input):
        paths = {name: input.get(name) for name in inputs if input.get(name)}
        if "guide" in paths:
            paths["guide"] = os.path.dirname(str(input.guide))
        flags = [(f"--{name}", str(value)) for name, value in (paths | options).items()]
        words = [word for flag in flags for word in flag]
        return words + (SHOWN.arguments(shown, input.shown) if shown else [])

    return command_line


def figure(name):
    """Return the outputs of a figure: a PNG for the report, a PDF with vectors beside it."""
    return report(
        TREE.file("figures", f"{name}.png"),
        caption=f"../report/{name}.rst",
        category="Figures",
        labels={"figure": name},
    )
