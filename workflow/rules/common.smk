# Finds the package, reads the configuration, and holds the functions that the rules call.
import io
import json
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
            tarfile.open(fileobj=archive).extractall(partial, filter="data")
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

from semples.planning import graph
from semples.config import published, variants
from semples.config.load import load, variant
from semples.errors import SemplesError
from semples.provenance import code_digest
from semples.data.importers.listing import masked_splits, table_files

try:
    CONFIG = load(config)
    MASKED_SPLITS = masked_splits(CONFIG.data)
    for name in variants.variants(CONFIG):
        graph.require_masks(variant(CONFIG, name), MASKED_SPLITS)
except SemplesError as error:
    raise WorkflowError(str(error)) from None

# `voc` and `coco` are downloaded unless `data.root` says where they lie.
DOWNLOADED = CONFIG.data.source in ("voc", "coco") and not CONFIG.data.root
if DOWNLOADED:
    CONFIG.data.root = f"downloads/{CONFIG.data.source}"

PLAN = graph.StageGraph(CONFIG)
VARIANTS = list(CONFIG.experiments)
# all but those whose segmentation learns from true masks
MAPPED = [v for v in VARIANTS if PLAN.has_maps(v)]
# the variant whose pseudo masks and segmentation are shown
LAST = (MAPPED or VARIANTS)[-1]
SEEDS = CONFIG.seeds
BASE = f"results/{CONFIG.name}"
MANIFEST = f"{BASE}/data/manifest.csv"
GPU = 0 if CONFIG.run.device == "cpu" else 1
GPUS = GPU * CONFIG.run.devices  # of a learning job

# How a job runs is passed in the environment, not as params: it changes no result, so a change must rerun nothing.
# A prefix replaces Snakemake's own, `set -euo pipefail`, for all rules of a workflow that uses this one as a module.
RUN = shlex.quote(CONFIG.run.model_dump_json(exclude={"threads"}))
PACKAGE = f'{isolated_package()}"${{PYTHONPATH:+:$PYTHONPATH}}"'
PREFIX = f"set -euo pipefail; export PYTHONPATH={PACKAGE} SEMPLES_RUN={RUN}; "
shell.prefix(PREFIX.replace("{", "{{").replace("}", "}}"))


# Jobs of cams and of crf share the images; with one job there is nothing to join.
scattergather:
    shards=CONFIG.run.shards,


SHARDED = CONFIG.run.shards > 1
PART_OF_CAMS = "shards/{scatteritem}.h5" if SHARDED else "cams.h5"
PART_OF_CRF = "shards/{scatteritem}" if SHARDED else "masks"
OF_SHARD = ".{scatteritem}" if SHARDED else ""


wildcard_constraints:
    variant="[^/]+",
    seed=r"\d+",
    kind="crf|segment",
    source="voc|coco",
    table="|".join(CONFIG.tables) or "none",


def settings_json(stage, variant=VARIANTS[0]):
    """The settings that a stage's command reads, as one line of JSON."""
    return json.dumps(graph.stage_settings(PLAN.runs[variant], stage), sort_keys=True)


def settings_of(stage):
    """A params function: the settings of a stage for the rule's variant."""
    return lambda wildcards: settings_json(stage, wildcards.variant)


def made_by(stage, file, seeded=True):
    """An input function: a file of another stage, for the rule's variant and seed."""
    return lambda wildcards: path_of(
        stage, file, wildcards.variant, wildcards.seed if seeded else None
    )


def path_of(stage, file, variant, seed=None):
    """A file in the folder that holds a stage's output for a variant."""
    return f"{PLAN.folder(stage, variant, seed)}/{file}"


def guide_folder(wildcards):
    return PLAN.folder("guide", wildcards.variant)


def generator_before(stage):
    """An input function: the generator that a stage of the rule's variant starts from; nothing where it has none."""

    def model(wildcards):
        found = graph.upstream(stage, PLAN.runs[wildcards.variant])
        return [
            f"{PLAN.folder_before(stage, wildcards.variant, name, wildcards.seed)}/model.safetensors"
            for name in found
            if name in ("classify", "slm", "csr", "joint")
        ]

    return model


def downloaded_weights(stage):
    """An input function: the ImageNet weights that a stage of the rule's variant starts from; none for some."""

    def file(wildcards):
        source = graph.downloaded_weights(stage, PLAN.runs[wildcards.variant])
        return [f"{BASE}/weights/{source}.safetensors"] if source else []

    return file


def own_generator(wildcards):
    """The file of a user's own generator, so that a change in it reruns what it makes."""
    file = PLAN.runs[wildcards.variant].generator.own_file()
    return [str(file)] if file else []


def foreign_cams(wildcards):
    """CAMs of another method that the prompts learn from."""
    start = PLAN.runs[wildcards.variant].cpl.start
    return [] if start in ("classify", "slm") else [start]


def shard_flag(wildcards):
    """The words that tell a job its share of the images; none where there is one job."""
    return ["--shard", wildcards.scatteritem] if SHARDED else []


def judged_cams(wildcards):
    """The evaluation that knows the threshold; none where the training split has no true masks."""
    if CONFIG.data.train not in MASKED_SPLITS:
        return []
    return path_of("evaluate", "cams.json", wildcards.variant, wildcards.seed)


def download_settings():
    """What `semples download` reads, as one line of JSON."""
    source = CONFIG.data.source
    chosen = {"data": {"source": source}, "download": CONFIG.download.model_dump()}
    return json.dumps(chosen, sort_keys=True)


def pseudo_masks(wildcards):
    """The folder of masks that a segmentation network learns from; none where it learns from true ones."""
    if PLAN.runs[wildcards.variant].segment.labels == "truth":
        return []
    return path_of("crf", "masks", wildcards.variant, wildcards.seed)


def judged_masks(wildcards):
    """The folder of masks that an evaluation judges."""
    stage, file = {"crf": ("crf", "masks"), "segment": ("segment", "predictions")}[
        wildcards.kind
    ]
    return f"{BASE}/{stage}/{wildcards.variant}/seed{wildcards.seed}/{file}"


def judged_split(wildcards):
    return CONFIG.data.train if wildcards.kind == "crf" else CONFIG.data.val
