"""The tree of a run's folder, results/<name>/. All other modules and the rules get their paths from this one.

data/manifest.csv, classes.csv
weights/<library>/<model>.safetensors       downloaded weights of networks
guide/<variant>/                            a guide and its text embeddings
<stage>/<variant>/seed<seed>/               outputs of the other stages, named in OUTPUTS
tables/<table>.csv .md .tex .html           figures/<figure>.png .pdf
compiled/                                   what torch.compile has made, for later jobs
logs/<stage>/<variant>.seed<seed>[.<part>].log, and benchmarks/ with the same names and suffix .tsv
"""

from pathlib import Path
from typing import NamedTuple

_LEARNER = {"model": "model.safetensors", "metrics": "metrics.jsonl"}
_PROMPTS = {"prompts": "prompts.safetensors", "words": "words.csv", "metrics": "metrics.jsonl"}
_GUIDE = {"model": "open_clip_model.safetensors", "config": "open_clip_config.json"}
OUTPUTS: dict[str, dict[str, str]] = {
    "data": {"manifest": "manifest.csv", "classes": "classes.csv"},
    "guide": _GUIDE | {"texts": "texts.safetensors", "words": "words.txt"},
    **dict.fromkeys(("classify", "slm", "csr", "segment"), _LEARNER),
    "cpl": _PROMPTS,
    "joint": _PROMPTS | _LEARNER,
    "cams": {"cams": "cams.h5"},
    "refine": {"cams": "cams.h5"},
    "crf": {"masks": "masks"},
    "segment_masks": {"masks": "predictions"},
    "evaluate": {kind: f"{kind}.json" for kind in ("cams", "refine", "crf", "segment")},
    "submission": {"tar": "comp6_test_cls.tar"},
}
"""File or folder of every output of a stage; the rules use the same names."""
_FOLDERS = {"segment_masks": "segment"}  # of outputs that lie in another stage's folder
_JOBS = {"guide": "/{variant}", **dict.fromkeys(("data", "weights", "tables", "figures"), "")}


class Layout(NamedTuple):
    """The paths of one run; `{variant}` and `{seed}` stay in them as wildcards unless a caller names them."""

    base: str  # folder of the run

    @classmethod
    def of(cls, name: str) -> "Layout":
        """Return the layout of the run `name` in the working directory."""
        return cls(f"results/{name}")

    def folder(self, stage: str, variant: str = "{variant}", seed: int | str = "{seed}") -> str:
        """Return the folder of a stage's outputs."""
        parts = {"data": [], "guide": [variant]}.get(stage, [variant, f"seed{seed}"])
        return "/".join([self.base, _FOLDERS.get(stage, stage), *parts])

    def path(self, stage: str, output: str, variant: str = "{variant}", seed: int | str = "{seed}") -> str:
        """Return the path of one of a stage's OUTPUTS."""
        return f"{self.folder(stage, variant, seed)}/{OUTPUTS[stage][output]}"

    def shard(self, stage: str, output: str, shards: int) -> str:
        """Return the output of a job of cams, refine or crf: a shard of it if several jobs share the images."""
        whole = self.path(stage, output)
        return whole if shards == 1 else f"{self.folder(stage)}/shards/{{scatteritem}}{Path(whole).suffix}"

    def compiled(self) -> str:
        """Return the folder in which torch.compile keeps what it has made."""
        return f"{self.base}/compiled"

    def file(self, folder: str, name: str) -> str:
        """Return a file in `tables`, `figures` or `weights`."""
        return f"{self.base}/{folder}/{name}"

    def log(self, stage: str, part: str = "") -> str:
        """Return the log of a stage's jobs, or of the table or figure `part`; `part` tells jobs of one stage apart."""
        job = _JOBS.get(stage, "/{variant}.seed{seed}")
        return f"{self.base}/logs/{stage}{job}{'.' if job and part else '/' if part else ''}{part}.log"

    def benchmark(self, stage: str, part: str = "") -> str:
        """Return the benchmark file of the jobs whose log is `log(stage, part)`."""
        name = self.log(stage, part).removeprefix(f"{self.base}/logs/").removesuffix(".log")
        return f"{self.base}/benchmarks/{name}.tsv"


def manifest_of(output: Path) -> Path:
    """Return the manifest of the run to which `output`, a file of <stage>/<variant>/seed<seed>/, belongs."""
    return Path(Layout(str(output.resolve().parents[3])).path("data", "manifest"))
