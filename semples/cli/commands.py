"""The table of all commands: name, help, function, flags, output and GPUs. A new command is a new row."""

from typing import NamedTuple

GROUPS = {
    "tables": "write evaluations, prompt words and costs as CSV, Markdown, LaTeX and HTML",
    "figures": "draw panels of images, curves and confusion matrices as PNG and PDF",
}


class Command(NamedTuple):
    """A row of the table of commands."""

    name: str
    """One word, or a group and a word: `tables paper`."""
    help: str
    function: str
    """`module:function` below `semples`, imported when the command runs. The value of each flag is one argument."""
    flags: str
    """Keys of arguments.FLAGS; `a|b` are flags of which exactly one is needed."""
    output: str = ""
    """What --out is: a "file", a "folder", "any" of the two, a "figure" (PNG and PDF), a folder into which a "stage"
    writes its planning.layout.OUTPUTS, or names of files in a folder."""
    gpus: str = ""
    """GPUs to reserve: "one", "all" for those of `run.devices`, or none."""


LEARNING = "config run manifest seed out"
PICTURES = "config manifest split cam_files figure"

# fmt: off
COMMANDS = (
    Command("init", "write config.yaml and a Snakefile into a new folder", "tools.init:run", "folder preset copy"),
    Command("download", "download VOC 2012 or COCO 2014", "stages.download:run", "config run out", "downloaded.json"),
    Command("data", "turn a data set into a manifest; `data check` only reports on it", "cli.adapters:data",
            "what config run out", "folder"),
    Command("guide", "save the frozen image-text model and its text embeddings", "stages.guide:run",
            "config run classes manifest? out", "folder"),
    Command("weights", "download the ImageNet weights of a backbone into a file", "stages.weights:run",
            "library model out", "file"),
    Command("classify", "train the classifier of the first CAMs", "stages.classify:run",
            f"{LEARNING} weights?", "stage", "all"),
    Command("slm", "segment-label matching", "stages.slm:run", f"{LEARNING} guide start", "stage", "all"),
    Command("cpl", "contrastive prompt learning", "stages.cpl:run", f"{LEARNING} guide generator?", "stage", "all"),
    Command("csr", "class-associated semantic refinement", "stages.csr:run",
            f"{LEARNING} guide start prompt_bank", "stage", "all"),
    Command("joint", "learn prompts and generator together", "stages.joint:run",
            f"{LEARNING} guide start", "stage", "all"),
    Command("cams", "write the CAMs of whole images into one HDF5 file", "stages.cams:run",
            "config run manifest split generator shard out", "file", "one"),
    Command("crf", "turn CAMs into palette PNG pseudo masks with a dense CRF", "stages.crf:run",
            "config run manifest cams evaluation? shard out", "folder"),
    Command("join", "join shards of CAMs or of pseudo masks", "stages.join:run", "shards out", "any"),
    Command("segment", "train a segmentation network on pseudo masks", "stages.segment:run",
            f"{LEARNING} masks? weights?", "stage", "all"),
    Command("segment_masks", "write the masks that a trained network predicts", "stages.segment_masks:run",
            "config run manifest checkpoint out", "folder", "one"),
    Command("evaluate", "compare CAMs or masks with the ground truth", "cli.adapters:evaluate",
            "config run manifest split cams|masks kind out", "file"),
    Command("submission", "write the tar of masks that the VOC test server takes", "stages.submission:run",
            "checkpoint run manifest test_split out", "file"),
    Command("heatmap", "draw where the guide sees a text or a learned prompt", "stages.heatmap:run",
            "config run manifest split guide prompts names texts figure", "figure"),
    Command("tables results", "all variants and seeds", "stages.tables.results:run", "rows note tables_folder",
            "results.csv results.md results.html"),
    Command("tables paper", "one of the paper's tables", "stages.tables.paper:run", "rows spec tables_folder"),
    Command("tables words", "words nearest to the prompts", "stages.tables.words:run", "words_files tables_folder",
            "words.md words.html"),
    Command("tables cost", "hours, memory, disk per stage", "stages.tables.cost:run", "base note tables_folder",
            "table_9.csv table_9.md table_9.tex table_9.html"),
    Command("figures panel", "images, CAMs and masks", "stages.figures.panels:run_panel",
            f"{PICTURES} mask_folders", "figure"),
    Command("figures comparison", "CAMs of random, best and worst images", "stages.figures.panels:run_comparison",
            f"{PICTURES} threshold", "figure"),
    Command("figures framework", "the stages of the method on one image", "stages.figures.panels:run_framework",
            f"{PICTURES} mask_folders words", "figure"),
    Command("figures thresholds", "mIoU over the background threshold", "stages.figures.curves:run_thresholds",
            "evaluations figure", "figure"),
    Command("figures training", "loss over epochs", "stages.figures.curves:run_training", "metrics figure", "figure"),
    Command("figures sensitivity", "mIoU over swept settings", "stages.figures.curves:run_sensitivity",
            "tables figure", "figure"),
    Command("figures confusion", "confusion matrix of masks", "stages.figures.confusions:run",
            "manifest split masks figure", "figure"),
    Command("figures prompts", "nouns nearest to the prompts", "stages.figures.prompts:run",
            "words manual figure", "figure"),
    Command("plan", "print the jobs of a run with estimated hours, memory and disk", "tools.plan:run",
            "targets config_set device at_once"),
    Command("report", "write tables, figures and provenance of a run on one HTML page", "tools.report:run",
            "config_set run_folder page?", "file"),
    Command("inspect", "print what a file of CAMs holds", "tools.inspect:run",
            "file image class save compare own_manifest", "figure"),
    Command("gallery", "write an HTML page of CAMs over their images, worst first", "tools.gallery:run",
            "file gallery_masks gallery_threshold images page own_manifest", "file"),
    Command("predict", "write masks, overlays and class areas of photographs", "tools.predict:run",
            "checkpoint run photos max_side scales out", "folder"),
    Command("export", "write the network as ONNX or TorchScript, and compare it", "tools.export:run",
            "checkpoint format size out", "file"),
    Command("config", "print settings, or the JSON schema of config.yaml", "cli.adapters:show_config",
            "action source experiment against schema"),
)
# fmt: on
