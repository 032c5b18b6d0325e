"""The outputs that every table and figure shows. The rules take their inputs from here, and jobs are counted by it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from semples.config import published, variants
from semples.config.settings import Config
from semples.data.importers.listing import masked_splits
from semples.errors import SemplesError
from semples.planning.cost import runtime_minutes
from semples.planning.graph import LEARNING, PROMPTS, STAGE_OF_COLUMN, StageGraph, StageJob, require_masks, stages_of
from semples.planning.size import Size, size_of

COLUMNS = tuple(STAGE_OF_COLUMN)


class Shown(NamedTuple):
    """An output that a table or figure shows, and its label on the command line."""

    label: str
    path: str
    stage: str
    variant: str
    seed: int
    evaluated: bool = False
    """Whether `path` is the evaluation of the stage's output, not the output itself."""


class Targets:
    """The tables and figures of a configuration.

    Raises:
        SemplesError: A variant needs ground truth that the training split does not have.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.graph = graph = StageGraph(config)
        self.masked_splits = masked_splits(config.data)
        """Splits that have ground truth; the others are not evaluated."""
        for settings in graph.settings.values():
            require_masks(settings, self.masked_splits)
        self.variants = list(config.experiments)
        self.mapped = [name for name in self.variants if graph.has_maps(name)]
        self.last = (self.mapped or self.variants)[-1]
        """The variant whose prompts, pseudo masks and segmentation the figures show."""
        self.seed = config.seeds[0]
        stages = {name: stages_of(graph.settings[name]) for name in self.variants}
        self.prompted = {name: stage for name in stages for stage in PROMPTS if stage in stages[name]}
        """The stage that makes the prompts of each variant that uses any."""
        manual = [name for name in self.prompted if graph.settings[name].cpl.source == "manual"]
        self.manual = [name for name in manual if self.prompted[name] == "cpl"][:1]
        """The first variant whose prompts are written by hand."""

    def members(self, target: str) -> list[str]:
        """Return the tables and figures that `target` stands for: itself, unless it is `all`, `tables` or `figures`."""
        curves = ["thresholds"] if self._evaluations(["cams"]) else []
        if target == "all":
            return ["results", "words", "panel", *curves, "training"]
        if target == "tables":
            return [*self.config.tables, "words"]
        if target != "figures":
            return [target]
        names = ["panel", "training", "comparison", *curves]
        names += ["sensitivity"] if curves and self.swept() else []
        names += ["confusion"] if self.config.data.val in self.masked_splits else []
        learned = self.last in self.prompted and self.graph.settings[self.last].cpl.source == "learned"
        return names + (["framework", "prompts", "heatmap"] if learned else [])

    def swept(self) -> list[str]:
        """Return the tables that sweep settings."""
        return [name for name, table in self.config.tables.items() if table.sweeps]

    def shown(self, target: str) -> dict[str, list[Shown]]:
        """Return the outputs that one table or figure shows, by the flag of its command that takes them."""
        if target in self.config.tables:
            rows = [row.variant for row in variants.rows_of(self.config, target)]
            columns = self.config.tables[target].columns
            return {"--evaluation": self._evaluations(columns, rows, variants.seeds_of(self.config, target))}
        if target == "sensitivity":
            return {"": [output for table in self.swept() for output in self.shown(table)["--evaluation"]]}
        cams = [self._output(name, "cams", "cams", name) for name in self.mapped]
        masks = ("crf: pseudo mask", "segment") if target == "framework" else ("pseudo mask", "segmentation")
        prompts = {"learned prompt": [self.last], "prompt by hand": self.manual}
        return {
            "results": lambda: {"--evaluation": self._evaluations(COLUMNS)},
            "thresholds": lambda: {"--evaluation": self._evaluations(["cams"])},
            "words": lambda: {"--words": self._prompt_words()},
            "training": lambda: {"--metrics": self._curves()},
            "panel": lambda: {"--cams": cams, "--masks": self._masks(*masks)},
            "comparison": lambda: {"--cams": cams},
            "confusion": lambda: {"--masks": self._masks("", "")[-1:]},
            "framework": lambda: {
                "--cams": self._stage_cams(),
                "--masks": self._masks(*masks),
                "--words": self._prompts("words", {"": [self.last]}),
            },
            "heatmap": lambda: {"--prompts": self._prompts("prompts", prompts)},
            "prompts": lambda: {"--words": self._prompts("words", {"": [self.last]})},
        }[target]()

    def paths(self, target: str) -> list[str]:
        """Return the paths of all that a table or figure shows."""
        return [output.path for outputs in self.shown(target).values() for output in outputs]

    def arguments(self, target: str, paths: Iterable[str]) -> list[str]:
        """Return the arguments that name what a table or figure shows, its `paths` in the order of the method `paths`.

        An output is PATH or, with a label, LABEL=PATH. Snakemake may keep a file elsewhere while a job runs: `paths`
        are those of the job's inputs.
        """
        path = iter(paths)
        arguments = []
        for flag, outputs in self.shown(target).items():
            labels = [f"{output.label}=" if output.label else "" for output in outputs]
            arguments += [flag, *(f"{label}{next(path)}" for label in labels)]
        return arguments

    def jobs(self, targets: Iterable[str]) -> dict[str, set[StageJob]]:
        """Return the jobs of every stage that `targets` need, each once, before the tables and figures themselves.

        A target is a key of the configuration's `tables`, a figure, or one of `results`, `tables`, `figures` and `all`.
        """
        jobs: dict[str, set[StageJob]] = defaultdict(set)
        masked = self.config.data.train in self.masked_splits
        for member in {member for target in targets for member in self.members(target)}:
            for output in (output for outputs in self.shown(member).values() for output in outputs):
                self.graph.collect(output.stage, self.graph.settings[output.variant], output.seed, masked, jobs)
                if output.evaluated and output.stage != "evaluate":
                    name = self.graph.output_of(output.stage, output.variant)
                    jobs["evaluate_masks"].add(StageJob(f"{name}/{output.stage}", output.seed))
        return jobs

    def minutes(self, stage: str, name: str) -> int:
        """Return the minutes that a job of a stage asks for, for a variant."""
        return runtime_minutes(stage, self.graph.runs[name], self._size)

    @cached_property
    def _size(self) -> Size | None:
        """The size of the data set; None where nobody knows it yet."""
        try:
            return size_of(self.config)
        except SemplesError:
            return None

    def _output(self, label: str, stage: str, output: str, name: str, seed: int | None = None) -> Shown:
        seed = self.seed if seed is None else seed
        return Shown(label, self.graph.path(stage, output, name, seed), stage, name, seed)

    def _evaluations(self, columns: Sequence[str], names: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Shown]:
        """Return the evaluations of every split that has ground truth."""
        data, graph = self.config.data, self.graph
        shown = []
        for name in names or self.variants:
            for seed in seeds or self.config.seeds:
                for column in columns:
                    split = data.val if column == "segment" else data.train
                    if split in self.masked_splits and (column == "segment" or graph.has_maps(name)):
                        stage = STAGE_OF_COLUMN[column]
                        path = graph.layout.path("evaluate", column, graph.output_of(stage, name), seed)
                        shown.append(Shown(f"{name}:{seed}", path, stage, name, seed, evaluated=True))
        return shown

    def _prompt_words(self) -> list[Shown]:
        """Return the nearest words of every variant that uses prompts."""
        runs = [(name, seed) for name in self.prompted for seed in self.config.seeds]
        return [self._output(f"{name}:{seed}", self.prompted[name], "words", name, seed) for name, seed in runs]

    def _curves(self) -> list[Shown]:
        """Return the metrics of every stage that trains, each once, first seed."""
        curves: dict[str, Shown] = {}
        for name in self.variants:
            settings = self.graph.settings[name]
            untrained = {"cpl"} if settings.cpl.source == "manual" else set()
            untrained |= {"classify"} if settings.classify.epochs == 0 else set()
            untrained |= {"segment"} if name != self.last else set()
            for stage in LEARNING:
                if stage in stages_of(settings) - untrained:
                    curve = self._output(f"{stage}, {self.graph.output_of(stage, name)}", stage, "metrics", name)
                    curves.setdefault(curve.path, curve)
        return list(curves.values())

    def _masks(self, pseudo: str, predicted: str) -> list[Shown]:
        """Return the last variant's pseudo masks, where it has any, and predictions, under these labels."""
        masks = [self._output(pseudo, "crf", "masks", self.last)] if self.mapped else []
        return [*masks, self._output(predicted, "segment_masks", "masks", self.last)]

    def _stage_cams(self) -> list[Shown]:
        """Return the CAMs of the stages that the last variant goes through, where a variant shows them."""
        if not self.mapped:
            return []
        settings = self.graph.settings
        first = {str(settings[name].masks_from): name for name in reversed(self.mapped)}
        before = [stage for stage in ("classify", "slm") if stage in stages_of(settings[self.last]) & set(first)]
        pairs = [(stage, first[stage]) for stage in before if first[stage] != self.last]
        return [
            self._output(stage, "cams", "cams", name)
            for stage, name in [*pairs, (str(settings[self.last].masks_from), self.last)]
        ]

    def _prompts(self, output: str, names: dict[str, list[str]]) -> list[Shown]:
        """Return an output of the stages that made the prompts of variants, by label."""
        pairs = [(label, name) for label, variants in names.items() for name in variants if name in self.prompted]
        return [self._output(label, self.prompted[name], output, name) for label, name in pairs]

    def manual_words(self) -> dict[str, list[str]]:
        """Return background words written by hand, by class; those of all other classes under ""."""
        settings = [self.graph.settings[name].cpl for name in self.manual]
        return {"": settings[0].manual, **settings[0].manual_by_class} if settings else {}

    def table_spec(self, name: str) -> dict:
        """Return all that the command of one of the paper's tables needs besides the evaluations."""
        table, rows = self.config.tables[name], variants.rows_of(self.config, name)
        notes = [table.note, variants.settings_note(table), self.note([row.variant for row in rows], table.columns)]
        return {
            "name": name,
            "title": table.title,
            "rows": [[*row, published.method_of(self.graph.settings[row.variant])] for row in rows],
            "source": self.config.data.source,
            "published": table.published,
            "note": "\n".join(filter(None, notes)),
        }

    def note(self, names: Sequence[str] = (), columns: Sequence[str] = COLUMNS) -> str:
        """Return the note under a table of these variants: preset, splits, selection of epochs, CRF and threshold."""
        variants = {name: self.graph.settings[name] for name in names or self.variants}
        settings = next(iter(variants.values()))
        threshold, data = settings.crf.threshold, settings.data
        text = f"Preset {self.config.preset}; data {data.source};"
        from_masks = f"CRF preset `{settings.crf.preset}` from masks at"
        if not self.masked_splits:
            return f"{text} {from_masks} threshold {threshold.value}."
        has_masks = {"crf", "segment"} & set(columns)
        splits = [f"CAMs and pseudo masks evaluated on split `{data.train}`"] if {"cams", "crf"} & set(columns) else []
        splits += [f"segmentation on `{data.val}`"] if "segment" in columns else []
        policies = {name: variant.selection.policy for name, variant in variants.items()}
        selected = ", ".join(f"{name} {policy}" for name, policy in policies.items())
        selection = f"epochs of slm, csr and joint selected by: {selected} (`oracle` and `held-out` use ground truth)"
        if set(policies.values()) == {"last"}:
            selection = "last epoch of every stage, no selection"
        text += f" {', '.join(splits)}; {selection}."
        text += f" {from_masks} the {threshold.policy} threshold." if has_masks else " No CRF."
        fixed = f" The fixed threshold is {threshold.value}; `oracle` is the best threshold on the ground truth."
        return text + fixed * ("cams" in columns)
