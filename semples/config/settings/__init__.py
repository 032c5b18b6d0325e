"""Settings with a type, a range and a description for every key. semples.config.load reads them."""

from typing import Annotated, Literal

from pydantic import Field

from semples.config.settings import types
from semples.config.settings.inputs import Data, Download, Generator, GuideSettings, Run
from semples.config.settings.learning import Augment, Classify, Prompts, Refinement, SegmentLabel, Selection, Training
from semples.config.settings.outputs import Cams, Crf, Evaluate, Figures, Foreign, GuideMaps, Segment, Table, Threshold
from semples.config.settings.refine import Pamr, Refine, Sam, Superpixels


class Settings(types.Section):
    """All settings of one variant."""

    run: Run = Run()
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = "auto"
    """Arithmetic of networks. `auto` uses bf16-mixed where the processor has it. Losses are in float32."""
    data: Data = Data()
    download: Download = Download()
    guide: GuideSettings = GuideSettings()
    generator: Generator = Generator()
    masks_from: Literal["classify", "slm", "csr", "joint", "guide", "foreign"] = "csr"
    """Stage whose generator makes the pseudo masks. `joint` trains prompts and generator together, instead of csr.
    `guide` trains none: the maps are those of the guide (section `guide_maps`). `foreign` trains none: they are those
    of another method (section `foreign`)."""
    guide_maps: GuideMaps = GuideMaps()
    foreign: Foreign = Foreign()
    rounds: Annotated[int, types.NUMBER, Field(ge=1, le=20)] = 1
    """Rounds of cpl and csr. From the second round on, prompts learn from the maps of the previous csr."""
    selection: Selection = Selection()
    classify: Classify = Classify()
    slm: SegmentLabel = SegmentLabel()
    cpl: Prompts = Prompts()
    csr: Refinement = Refinement()
    cams: Cams = Cams()
    refine: Refine = Refine()
    crf: Crf = Crf()
    segment: Segment = Segment()
    evaluate: Evaluate = Evaluate()
    figures: Figures = Figures()

    def fuses(self) -> bool:
        """Return whether CAMs are fused with the guide's own maps; these themselves are not."""
        return self.cams.fuse != "none" and self.masks_from != "guide"


class Config(Settings):
    """Settings of a preset or of config.yaml."""

    preset: str = "mini"
    """Name of a file in semples/config/presets/, or the path of your own preset. A preset that names another one in
    this key is merged over it."""
    parity: Literal["none", "published"] = "none"
    """`published` merges semples/config/parity/published.yaml, the ways of the published code, over the preset."""
    recipe: str = "none"
    """Segmentation recipe: semples/config/recipes/<recipe>.yaml is merged over the preset. `none` changes nothing."""
    name: types.Name = ""
    """Folder under results/. Empty: the name of the preset."""
    seeds: Annotated[list[types.Seed], Field(min_length=1), types.DISTINCT] = [0]
    """Random seeds. Each is one whole run; tables show mean and standard deviation over the seeds."""
    experiments: Annotated[dict[types.Name, dict], Field(min_length=1)] = {"semples": {}}
    """Variants by name, each with the settings that differ; each is a row of the tables. `null` removes a preset's."""
    variants: dict[types.Name, dict] = {}
    """Further variants of the same form. They run only for the `tables` that show them."""
    tables: dict[types.Name, Table] = {}
    """Tables of the paper by the name of their Snakemake target. Those of the presets are in semples/config/tables/."""
