"""The settings: typed, with a range and a description on every field. semples.config.load reads them."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings.inputs import Data, Download, Generator, GuideSettings, Run
from semples.config.settings.learning import Augment, Classify, Prompts, Refinement, SegmentLabel, Selection, Training
from semples.config.settings.outputs import Cams, Crf, Evaluate, Figures, Table, Threshold
from semples.config.settings.section import Count, Section
from semples.config.settings.segmentation import Segment


class Settings(Section):
    """All that a run is made of, for one variant."""

    run: Run = Run()
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    """Arithmetic of training and inference, losses always float32; `auto`: bf16-mixed where the processor has it."""
    data: Data = Data()
    download: Download = Download()
    guide: GuideSettings = GuideSettings()
    generator: Generator = Generator()
    masks_from: Literal["classify", "slm", "csr", "joint"] = "csr"
    """The generator whose maps become pseudo masks; `joint` learns prompts and generator together, instead of csr."""
    rounds: Count = 1
    """Rounds of cpl and csr: in a later one the prompts learn from the maps of the csr before."""
    selection: Selection = Selection()
    classify: Classify = Classify()
    slm: SegmentLabel = SegmentLabel()
    cpl: Prompts = Prompts()
    csr: Refinement = Refinement()
    cams: Cams = Cams()
    crf: Crf = Crf()
    segment: Segment = Segment()
    evaluate: Evaluate = Evaluate()
    figures: Figures = Figures()


class Config(Settings):
    """What a preset or config.yaml may say."""

    preset: str = "mini"
    """Name of a file in semples/config/presets/, or a path to a file of your own."""
    parity: Literal["none", "published"] = "none"
    """`published` lays semples/config/parity/published.yaml, all quirks of the published code, over the preset."""
    recipe: str = "none"
    """A published segmentation recipe, semples/config/recipes/<recipe>.yaml, laid over the preset."""
    name: str = ""
    """Folder under results/; empty: the preset's name."""
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    """Every seed is one whole run; the tables show mean and spread."""
    experiments: dict[str, dict] = {"semples": {}}
    """Variants by name, each the settings in which it differs: one row of the tables each. `null` drops a preset's."""
    variants: dict[str, dict] = {}
    """More variants, of the same form; they run only for the `tables` that show them."""
    tables: dict[str, Table] = {}
    """The paper's tables by the name that Snakemake knows them by; semples/config/tables/ has those of the presets."""
