"""The table of all commands: name, help, flags, output, GPUs and function. A new command is a new row."""

from typing import NamedTuple

GROUPS = {
    "tables": "write evaluations, prompt words and costs as CSV, Markdown, LaTeX and HTML",
    "figures": "draw panels of images, curves and confusion matrices as PNG and PDF",
}
TOOLS = {"init", "run", "plan", "report", "inspect", "gallery", "predict", "export", "review", "verify"}


class Command(NamedTuple):
    """A row of the table of commands."""

    name: str  # one word, or a group and a word: `tables paper`
    help: str
    flags: str  # keys of arguments.FLAGS; of `a|b` exactly one is needed, `a?` may be left out
    output: str = ""
    """What --out is: a "file", a "folder", "any" of the two, a "figure" (PNG and PDF), a folder for the OUTPUTS of a
    "stage" in planning.layout, or names of files in a folder."""
    gpus: str = ""  # to reserve: "one", "all" for those of `run.devices`, or none
    code: str = ""

    @property
    def function(self) -> str:
        """`module:function` below `semples`, imported when the command runs. Each flag is one of its arguments."""
        return self.code or f"{'tools' if self.name in TOOLS else 'stages'}.{self.name.replace(' ', '.')}:run"


JOB = "config run threads manifest"
LEARNING = f"{JOB} seed out"
PICTURES = "config manifest split cam_files figure"

# fmt: off
COMMANDS = (
    Command("init", "write config.yaml and a Snakefile into a new folder", "folder preset copy"),
    Command("run", "photographs in; masks, gallery, review page and report out",
            "photographs run_out guide_model quick trained segment device cores yes"),
    Command("download", "download VOC 2012 or COCO 2014", "config run threads out", "downloaded.json"),
    Command("data", "turn a data set into a manifest; `data check` only reports on it", "what config run threads out",
            "folder", code="cli.adapters:data"),
    Command("guide", "save the frozen image-text model and its text embeddings",
            "config run threads classes manifest? out", "folder"),
    Command("weights", "download the weights of a backbone or of SAM into a file", "library model out", "file"),
    Command("classify", "train the classifier of the first CAMs", f"{LEARNING} weights?", "stage", "all"),
    Command("slm", "segment-label matching", f"{LEARNING} guide start", "stage", "all"),
    Command("cpl", "contrastive prompt learning", f"{LEARNING} guide generator? maps?", "stage", "all"),
    Command("csr", "class-associated semantic refinement", f"{LEARNING} guide start prompt_bank", "stage", "all"),
    Command("joint", "learn prompts and generator together", f"{LEARNING} guide start", "stage", "all"),
    Command("cams", "write CAMs of whole images, or another method's maps, into one HDF5 file",
            f"{JOB} split generator? foreign? guide? maps? shard out", "file", "one"),
    Command("refine", "fit CAMs to the edges of their photographs", f"{JOB} cams weights? shard out", "file"),
    Command("crf", "turn CAMs into pseudo masks with a dense CRF", f"{JOB} cams evaluation? shard out", "folder"),
    Command("join", "join shards of CAMs or of pseudo masks", "shards out", "any"),
    Command("segment", "train a segmentation network on pseudo masks", f"{LEARNING} masks? weights?", "stage", "all"),
    Command("segment_masks", "write the masks of a trained network", f"{JOB} checkpoint out", "folder", "one"),
    Command("evaluate", "compare CAMs or masks with the ground truth", f"{JOB} split cams|masks kind out",
            "file", code="cli.adapters:evaluate"),
    Command("submission", "write the tar of masks that the VOC test server takes",
            "checkpoint run threads manifest test_split out", "file"),
    Command("heatmap", "draw where the guide sees a text or a learned prompt",
            f"{JOB} split guide prompts names texts figure", "figure"),
    Command("tables results", "all variants and seeds", "rows note tables_out", "results.csv results.md results.html"),
    Command("tables paper", "one of the paper's tables", "rows spec tables_out"),
    Command("tables words", "words nearest to the prompts", "words_files tables_out", "words.md words.html",
            code="stages.tables.results:run_words"),
    Command("tables cost", "hours, memory, disk per stage", "base note tables_out",
            "table_9.csv table_9.md table_9.tex table_9.html"),
    Command("figures panel", "images, CAMs and masks", f"{PICTURES} mask_folders", "figure",
            code="stages.figures.panels:run_panel"),
    Command("figures comparison", "CAMs of random, best and worst images", f"{PICTURES} threshold", "figure",
            code="stages.figures.panels:run_comparison"),
    Command("figures framework", "the stages of the method on one image", f"{PICTURES} mask_folders words", "figure",
            code="stages.figures.panels:run_framework"),
    Command("figures thresholds", "mIoU over the background threshold", "evaluations figure", "figure",
            code="stages.figures.curves:run_thresholds"),
    Command("figures training", "loss by epoch", "metrics figure", "figure", code="stages.figures.curves:run_training"),
    Command("figures sensitivity", "mIoU over swept settings", "tables figure", "figure",
            code="stages.figures.curves:run_sensitivity"),
    Command("figures confusion", "confusion matrix of masks", "manifest split masks figure", "figure",
            code="stages.figures.confusions:run"),
    Command("figures prompts", "nouns nearest to the prompts", "words manual figure", "figure",
            code="stages.figures.curves:run_prompts"),
    Command("plan", "print the jobs with estimated hours, memory and disk",
            "targets config_file set device at_once calibrate"),
    Command("report", "write a run's tables, figures and provenance as HTML",
            "config_file set run_folder report_page", "file"),
    Command("inspect", "print what a file of CAMs holds", "file image class save compare own_manifest", "figure"),
    Command("gallery", "write an HTML page of CAMs over their images, worst first",
            "file gallery_masks gallery_threshold images page own_manifest", "file"),
    Command("predict", "write masks, overlays and class areas of photographs",
            "checkpoint run threads photos max_side scales out", "folder"),
    Command("export", "write the network as ONNX or TorchScript, and compare it", "checkpoint format size out", "file"),
    Command("export-masks", "write masks for CVAT, Label Studio, YOLO, or in the layouts of COCO and VOC",
            "results mask_format own_manifest least_area outlines prefix out", "folder", code="tools.export_masks:run"),
    Command("review", "write a page of the masks that are most worth a look, and a folder to correct them",
            "file masks gallery_threshold review_images random review_format own_manifest out", "folder"),
    Command("import-labels", "turn an export of Label Studio or CVAT into labels.csv and masks",
            "annotations manifest out", "folder", code="tools.import_labels:run"),
    Command("verify", "compare the results folders of two runs of one configuration", "run_folders"),
    Command("report-bug", "print versions, settings and ends of logs for a report, without your name",
            "source run_folder log_lines", code="tools.report_bug:run"),
    Command("config", "print settings, or the JSON schema of config.yaml", "action source experiment against schema",
            code="cli.adapters:show_config"),
)
# fmt: on
