"""What every table and figure shows. Rules take their inputs and arguments from here, and jobs are counted by it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from semples.config import published, variants
from semples.config.settings import Config
from semples.data.importers.listing import masked_splits
from semples.errors import SemplesError
from semples.planning.cost import runtime_minutes
from semples.planning.graph import (
    LEARNING,
    MASKS,
    PROMPTS,
    STAGE_OF_COLUMN,
    StageGraph,
    StageJob,
    require_masks,
    stages_of,
)
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
        """Splits that have ground truth; without it nothing of a split is evaluated."""
        for settings in graph.settings.values():
            require_masks(settings, self.masked_splits)
        self.variants = list(config.experiments)
        self.mapped = [name for name in self.variants if graph.has_maps(name)]
        self.last = (self.mapped or self.variants)[-1]
        """The variant whose pseudo masks and segmentation the figures show."""
        self.seed = config.seeds[0]

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
        return names + (["framework", "prompts", "heatmap"] if self._learns_prompts() else [])

    def swept(self) -> list[str]:
        """Return the tables that sweep settings."""
        return [name for name, table in self.config.tables.items() if table.sweeps]

    def shown(self, target: str) -> dict[str, list[Shown]]:
        """Return the outputs that one table or figure shows, by the flag of its command that takes them."""
        if target in self.config.tables:
            rows = [row.variant for row in variants.rows_of(self.config, target)]
            columns = self.config.tables[target].columns
            return {"--evaluation": self._evaluations(columns, rows, variants.seeds_of(self.config, target))}
        cams = [self._output(name, "cams", "cams", name) for name in self.mapped]
        match target:
            case "results":
                return {"--evaluation": self._evaluations(COLUMNS)}
            case "thresholds":
                return {"--evaluation": self._evaluations(["cams"])}
            case "words":
                return {"--words": self._prompt_words()}
            case "training":
                return {"--metrics": self._curves()}
            case "panel":
                return {"--cams": cams, "--masks": self._masks("pseudo mask", "segmentation")}
            case "comparison":
                return {"--cams": cams}
            case "confusion":
                return {"--masks": self._masks("", "")[-1:]}
            case "framework":
                masks = self._masks("crf: pseudo mask", "segment")
                return {"--cams": self._stage_cams(), "--masks": masks, "--words": self._prompts("", "words")}
            case "heatmap":
                return {"--prompts": self._prompts("learned prompt", "prompts", "prompt by hand")}
            case "prompts":
                return {"--words": self._prompts("", "words")}
            case _:  # sensitivity
                return {"": [output for table in self.swept() for output in self.shown(table)["--evaluation"]]}

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
                self.graph.collect(output.stage, output.variant, output.seed, masked, jobs)
                if output.evaluated and output.stage in MASKS:
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
        return [
            self._output(f"{name}:{seed}", stage, "words", name, seed)
            for name in self.variants
            for seed in self.config.seeds
            for stage in PROMPTS
            if stage in stages_of(self.graph.settings[name])
        ]

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
        first = {settings[name].masks_from: name for name in reversed(self.mapped)}
        before = stages_of(settings[self.last]) & {"classify", "slm"} & set(first)
        pairs = [
            (stage, first[stage]) for stage in ("classify", "slm") if stage in before and first[stage] != self.last
        ]
        pairs.append((settings[self.last].masks_from, self.last))
        return [self._output(stage, "cams", "cams", name) for stage, name in pairs]

    def _prompts(self, label: str, output: str, manual_label: str = "") -> list[Shown]:
        """Return an output of the stage that made the last variant's prompts, and with a label that of manual ones."""
        pairs = [(label, self.last)] + [(manual_label, name) for name in self._manual() if manual_label]
        return [
            self._output(label, stage, output, name)
            for label, name in pairs
            for stage in set(PROMPTS) & stages_of(self.graph.settings[name])
        ]

    def _learns_prompts(self) -> bool:
        settings = self.graph.settings[self.last]
        return settings.cpl.source == "learned" and bool(set(PROMPTS) & stages_of(settings))

    def _manual(self) -> list[str]:
        """Return the first variant whose prompts are written by hand, as a list of at most one."""
        settings = {name: self.graph.settings[name] for name in self.variants}
        return [n for n, s in settings.items() if s.cpl.source == "manual" and "cpl" in stages_of(s)][:1]

    def manual_words(self) -> dict[str, list[str]]:
        """Return background words written by hand, by class; those of all other classes under ""."""
        for settings in (self.graph.settings[name].cpl for name in self._manual()):
            return {"": settings.manual, **settings.manual_by_class}
        return {}

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
        names = names or self.variants
        settings = self.graph.settings[names[0]]
        threshold, data = settings.crf.threshold, settings.data
        text = f"Preset {self.config.preset}; data {data.source};"
        from_masks = f"CRF preset `{settings.crf.preset}` from masks at"
        if not self.masked_splits:
            return f"{text} {from_masks} threshold {threshold.value}."
        maps = {"cams", "crf"} & set(columns)
        splits = [f"CAMs and pseudo masks evaluated on the masks of split `{data.train}`"] if maps else []
        splits += [f"segmentation on `{data.val}`"] if "segment" in columns else []
        text += f" {', '.join(splits)}; {self._selection_note(names)}."
        masks = {"crf", "segment"} & set(columns)
        text += f" {from_masks} the {threshold.policy} threshold." if masks else " No CRF."
        if "cams" in columns:
            text += f" The fixed threshold is {threshold.value}; `oracle` is the best threshold on the true masks."
        return text

    def _selection_note(self, names: Sequence[str]) -> str:
        policies = {name: self.graph.settings[name].selection.policy for name in names}
        if set(policies.values()) == {"last"}:
            return "last epoch of every stage, no selection"
        selected = ", ".join(f"{name} {policy}" for name, policy in policies.items())
        return f"epochs of slm, csr and joint selected by: {selected} (`oracle` and `held-out` use true masks)"
