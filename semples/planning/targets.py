"""The outputs that every table and figure shows. The rules take their inputs from here, and jobs are counted by it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from typing import NamedTuple

from semples.config import published, variants
from semples.config.settings import Config
from semples.data.importers.listing import masked_splits, table_files
from semples.errors import SemplesError
from semples.models.optional import require_transformers
from semples.planning.cost import Size, runtime_minutes, size_of
from semples.planning.graph import (
    EVALUATIONS,
    LEARNING,
    STAGE_OF_COLUMN,
    STARTS,
    StageGraph,
    StageJob,
    maps_of,
    require_masks,
    stages_of,
)
from semples.planning.legend import table_note

COLUMNS = tuple(STAGE_OF_COLUMN)
MOST_THREADS = 8  # of a job alone; the small networks that train on a CPU gain nothing from more
LIGHT = ("data", "guide", "weights", "evaluate_masks", *EVALUATIONS.values())  # jobs of seconds, or of a single thread
# settings whose paths are inputs of rules
SNAKEMAKE_INPUTS = ("generator.name", "cpl.start", "foreign.path", "refine.sam.weights")


class Shown(NamedTuple):
    """An output that a table or figure shows, and its label on the command line."""

    label: str
    path: str
    stage: str
    variant: str
    seed: int
    evaluated: bool = False  # `path` is the evaluation of the stage's output, not the output itself


class Targets:
    """The tables and figures of a configuration; an error where they need ground truth that the data set lacks."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.graph = graph = StageGraph(config)
        self.masked_splits = masked_splits(config.data)
        """Splits that have ground truth; the others are not evaluated."""
        for settings in graph.settings.values():
            require_masks(settings, self.masked_splits)
        self.variants = list(config.experiments)
        self.mapped = [name for name in self.variants if graph.has("cams", name)]
        self.last = (self.mapped or self.variants)[-1]
        """The variant whose prompts, pseudo masks and segmentation the figures show."""
        stages = {name: stages_of(graph.settings[name]) for name in self.variants}
        self.segmented = "segment_masks" in stages[self.last]
        """Whether that variant trains a segmentation network."""
        self.prompted = {name: stage for name in stages for stage in ("cpl", "joint") if stage in stages[name]}
        """The stage that makes the prompts of each variant that uses any."""
        by_hand = [name for name, stage in self.prompted.items() if stage == "cpl" and self._manual(name)]
        self.manual = next(iter(by_hand), "")
        """The first variant whose prompts are written by hand, "" for none."""

    def require_inputs(self) -> None:
        """Raise SemplesError for a file of the user's that does not exist, or whose name Snakemake cannot read."""
        data = self.config.data
        paths = {"data.root": data.root} if data.source == "photos" else {}  # `data` says that an empty one is wrong
        for settings in self.graph.settings.values():
            generator, segment = settings.generator, settings.segment
            paths |= {"generator.name": str(generator.own_file() or ""), "cpl.start": settings.cpl.start_file()}
            paths["refine.sam.weights"] = settings.refine.own_weights()
            paths["generator.weights"] = "" if generator.weights in ("timm", "none") else generator.weights
            paths["segment.weights"] = "" if segment.weights in ("imagenet", "none") else segment.weights
            files = {settings.foreign.file(seed) for seed in self.config.seeds if settings.masks_from == "foreign"}
            for key, path in [*paths.items(), *(("foreign.path", file) for file in sorted(files))]:
                if path and not Path(path).exists():
                    raise SemplesError(key, f"no such file or folder: {path}", "a path that exists", f"correct `{key}`")
                inputs = table_files(data) if key == "data.root" else [path] * (key in SNAKEMAKE_INPUTS)
                if set("{}") & set("".join(inputs)):
                    expected = "a path without braces, which Snakemake reads as wildcards"
                    raise SemplesError(key, path, expected, "rename the file or folder")
        if self._size and self.config.run.shards > self._size.train > 0:
            problem = f"{self.config.run.shards}, and {self._size.train} images in split {data.train!r}"
            raise SemplesError("run.shards", problem, "an image per shard", f"at most {self._size.train}")

    def require_packages(self) -> None:
        """Raise SemplesError where a variant needs the extra `sam`, which this Python lacks."""
        if any(settings.refine.kind == "sam" for settings in self.graph.settings.values()):
            require_transformers("refine.kind: sam", "sam")

    def members(self, target: str) -> list[str]:
        """Return the tables and figures that `target` stands for: itself, unless it is `all`, `tables` or `figures`."""
        curves = ["thresholds"] if self._map_curves() else []
        figures = ["panel", "training", "comparison", *curves]
        figures += ["sensitivity"] if curves and self.swept() else []
        figures += ["confusion"] if self.segmented and self.config.data.val in self.masked_splits else []
        learned = self.last in self.prompted and not self._manual(self.last)
        figures += ["framework", "prompts", "heatmap"] if learned else []
        whole = {"figures": figures, "tables": [*self.config.tables, "words"]}
        words, training = ["words"] * bool(self.prompted), ["training"] * bool(self._curves())
        return (whole | {"all": ["results", *words, "panel", *curves, *training]}).get(target, [target])

    def _manual(self, name: str) -> bool:
        return self.graph.settings[name].cpl.source == "manual"

    def swept(self) -> list[str]:
        """Return the tables that sweep settings."""
        return [name for name, table in self.config.tables.items() if table.sweeps]

    def shown(self, target: str) -> dict[str, list[Shown]]:
        """Return the outputs that one table or figure shows, by the flag of its command that takes them."""
        if target in self.config.tables:
            rows = [row.variant for row in variants.rows_of(self.config, target)]
            table = self.config.tables[target]
            return {"--evaluation": self._evaluations(table.columns, rows, self.config.seeds[: table.seeds])}
        if target == "sensitivity":
            return {"": [output for table in self.swept() for output in self.shown(table)["--evaluation"]]}
        cams = [self._output(name, maps_of(self.graph.settings[name]), "cams", name) for name in self.mapped]
        masks = ("crf: pseudo mask", "segment") if target == "framework" else ("pseudo mask", "segmentation")
        runs = product(self.prompted, self.config.seeds)
        words = self._prompts("words", ("", self.last))
        prompts = self._prompts("prompts", ("learned prompt", self.last), ("prompt by hand", self.manual))
        return {
            "results": lambda: {"--evaluation": self._evaluations(COLUMNS)},
            "thresholds": lambda: {"--evaluation": self._map_curves()},
            "words": lambda: {"--words": [self._output(f"{n}:{s}", self.prompted[n], "words", n, s) for n, s in runs]},
            "training": lambda: {"--metrics": self._curves()},
            "panel": lambda: {"--cams": cams, "--masks": self._masks(*masks)},
            "comparison": lambda: {"--cams": cams},
            "confusion": lambda: {"--masks": self._predictions("")},
            "framework": lambda: {"--cams": self._stage_cams(), "--masks": self._masks(*masks), "--words": words},
            "heatmap": lambda: {"--prompts": prompts},
            "prompts": lambda: {"--words": words},
        }[target]()

    def paths(self, target: str) -> list[str]:
        """Return the paths of all that a table or figure shows."""
        return [output.path for output in chain(*self.shown(target).values())]

    def arguments(self, target: str, paths: Iterable[str]) -> list[str]:
        """Return the arguments that name what a table or figure shows: a flag, then PATH or LABEL=PATH of each output.

        `paths` are those of a job's inputs, in the order of `self.paths`: a file may lie elsewhere while a job runs.
        """
        path = iter(paths)
        arguments = []
        for flag, outputs in self.shown(target).items():
            labels = [f"{output.label}=" if output.label else "" for output in outputs]
            arguments += [flag, *(f"{label}{next(path)}" for label in labels)]
        return arguments

    def jobs(self, targets: Iterable[str]) -> dict[str, set[StageJob]]:
        """Return the jobs of every stage that `targets` need, each once, before the tables and figures themselves."""
        jobs: dict[str, set[StageJob]] = defaultdict(set)
        masked = self.config.data.train in self.masked_splits
        for member in {member for target in targets for member in self.members(target)}:
            for output in chain(*self.shown(member).values()):
                self.graph.collect(output.stage, self.graph.settings[output.variant], output.seed, masked, jobs)
                if output.evaluated and output.stage not in EVALUATIONS.values():
                    name = self.graph.output_of(output.stage, output.variant)
                    jobs["evaluate_masks"].add(StageJob(f"{name}/{output.stage}", output.seed))
        return jobs

    def minutes(self, stage: str, name: str) -> int:
        """Return the minutes that a job of a stage asks for, for a variant."""
        return runtime_minutes(stage, self.graph.runs[name], self._size)

    def threads(self, stage: str, name: str, cores: int) -> int:
        """Return the threads of a stage's job for a variant: `run.threads`, or all cores for a job that runs alone.

        On the CPU a job of the target `all` runs alone if every other one must wait for it, or it for them. This
        depends on the configuration only, so that a job has the same threads in every run on as many cores.
        """
        least = self.config.run.threads
        alone = self.config.run.device == "cpu" and (stage, self.graph.output_of(stage, name)) in self._alone
        return max(least, min(cores, MOST_THREADS)) if alone else least

    @cached_property
    def _alone(self) -> set[tuple[str, str]]:
        """Stage and variant of every job that no other one can run beside; with several seeds there is none."""
        if len(self.config.seeds) > 1 or self.config.run.shards > 1:
            return set()
        every = {
            (stage, job.variant) for stage, jobs in self.jobs(["all"]).items() for job in jobs if stage not in LIGHT
        }
        earlier = {job: self._earlier(*job) for job in every}
        return {job for job in every if all(job in earlier[b] or b in earlier[job] for b in every)}

    def _earlier(self, stage: str, name: str) -> set[tuple[str, str]]:
        """Return stage and variant of a job and of all that it waits for."""
        return {(stage, name)}.union(*(self._earlier(*job) for job in self.graph.before(stage, name)))

    @cached_property
    def _size(self) -> Size | None:
        """The size of the data set; None where nobody knows it yet."""
        try:
            return size_of(self.config)
        except SemplesError:
            return None

    def _output(self, label: str, stage: str, output: str, name: str, seed: int | None = None) -> Shown:
        seed = self.config.seeds[0] if seed is None else seed
        return Shown(label, self.graph.path(stage, output, name, seed), stage, name, seed)

    def _evaluations(self, columns: Sequence[str], names: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Shown]:
        """Return the evaluations of every split that has ground truth."""
        data, graph = self.config.data, self.graph
        shown = []
        for name, seed, column in product(names or self.variants, seeds or self.config.seeds, columns):
            split, stage = data.val if column == "segment" else data.train, STAGE_OF_COLUMN[column]
            if split in self.masked_splits and graph.has(column, name):
                path = graph.evaluation(column, name, seed)
                shown.append(Shown(f"{name}:{seed}", path, stage, name, seed, evaluated=True))
        return shown

    def _map_curves(self) -> list[Shown]:
        """Return the evaluations of all maps; those of refined ones have a label of their own."""
        refined = self._evaluations(["refine"])
        labels = [f"{shown.variant}, refined:{shown.seed}" for shown in refined]
        return self._evaluations(["cams"]) + [s._replace(label=x) for s, x in zip(refined, labels, strict=True)]

    def _curves(self) -> list[Shown]:
        """Return the metrics of every stage that trains, each once, first seed."""
        curves: dict[str, Shown] = {}
        for name, stage in product(self.variants, LEARNING):
            settings = self.graph.settings[name]
            untrained = {"cpl": self._manual(name), "classify": not settings.classify.epochs}
            if stage in stages_of(settings) and not (untrained | {"segment": name != self.last}).get(stage):
                curve = self._output(f"{stage}, {self.graph.output_of(stage, name)}", stage, "metrics", name)
                curves.setdefault(curve.path, curve)
        return list(curves.values())

    def _masks(self, pseudo: str, predicted: str) -> list[Shown]:
        """Return the last variant's pseudo masks and predictions, where it has them, under these labels."""
        masks = [self._output(pseudo, "crf", "masks", self.last)] if self.mapped else []
        return masks + self._predictions(predicted)

    def _predictions(self, label: str) -> list[Shown]:
        return [self._output(label, "segment_masks", "masks", self.last)] if self.segmented else []

    def _stage_cams(self) -> list[Shown]:
        """Return the CAMs of the stages that the last variant goes through, where a variant shows them."""
        if not self.mapped:
            return []
        settings, last = self.graph.settings, self.graph.settings[self.last]
        first: dict[str, str] = {settings[name].masks_from: name for name in reversed(self.mapped)}
        pairs = [(stage, first.get(stage, self.last)) for stage in STARTS if stage in stages_of(last)]
        pairs = [*filter(lambda pair: pair[1] != self.last, pairs), (last.masks_from, self.last)]
        refined = [self._output("refine", "refine", "cams", self.last)] if self.graph.has("refine", self.last) else []
        return [*(self._output(stage, "cams", "cams", name) for stage, name in pairs), *refined]

    def _prompts(self, output: str, *pairs: tuple[str, str]) -> list[Shown]:
        """Return an output of the stages that made the prompts, for pairs of label and variant."""
        stages = self.prompted
        return [self._output(label, stages[name], output, name) for label, name in pairs if name in stages]

    def manual_words(self) -> dict[str, list[str]]:
        """Return background words written by hand, by class; those of all other classes under ""."""
        cpl = self.graph.settings[self.manual].cpl if self.manual else None
        return {"": cpl.manual, **cpl.manual_by_class} if cpl else {}

    def table_spec(self, name: str) -> dict:
        """Return all that the command of one of the paper's tables needs besides the evaluations."""
        table, rows = self.config.tables[name], variants.rows_of(self.config, name)
        settings = f"All rows have {variants.format_settings(table.settings)}." if table.settings else ""
        notes = [table.note, settings, self.note([row.variant for row in rows], table.columns)]
        return {
            "name": name,
            "title": table.title,
            "rows": [[*row, published.method_of(self.graph.settings[row.variant])] for row in rows],
            "source": self.config.data.source,
            "published": table.published,
            "note": "\n".join(filter(None, notes)),
        }

    def note(self, names: Sequence[str] = (), columns: Sequence[str] = COLUMNS) -> str:
        """Return the note under a table of these variants: preset, splits, epochs, selection, CRF and threshold."""
        runs = {name: self.graph.settings[name] for name in names or self.variants}
        return table_note(self.config.preset, runs, self.masked_splits, columns)
