"""The note under a table: what its numbers come from."""

from collections.abc import Iterable, Mapping, Sequence

from semples.config.settings import Settings
from semples.planning.graph import EVALUATIONS, LEARNING, stages_of


def table_note(preset: str, runs: Mapping[str, Settings], masked_splits: set[str], columns: Sequence[str]) -> str:
    """Return the note: preset, splits, selection of epochs, CRF, threshold, refinement and epochs.

    Args:
        runs: Settings of the variants in the rows.
        masked_splits: Splits that have ground truth.
        columns: Keys of STAGE_OF_COLUMN.
    """
    settings = next(iter(runs.values()))
    threshold, data = settings.crf.threshold, settings.data
    text, epochs = f"Preset {preset}; data {data.source};", _epochs(runs.values(), columns)
    from_masks = f"CRF preset {_by_variant({name: run.crf.preset for name, run in runs.items()})} from masks at"
    kinds = {name: run.refine.kind for name, run in runs.items() if run.refine.kind != "none"}
    refined = f" Maps refined by: {', '.join(map(' '.join, kinds.items()))}." * bool(kinds)
    if not masked_splits:
        fixed = f"threshold {threshold.value}" if threshold.policy == "fixed" else "the label-free threshold"
        return f"{text} {from_masks} {fixed}.{refined}{epochs}"
    splits = [f"CAMs and pseudo masks evaluated on split `{data.train}`"] if {*columns} - {"segment"} else []
    splits += [f"segmentation on `{data.val}`"] if "segment" in columns else []
    policies = ", ".join(f"{name} {run.selection.policy}" for name, run in runs.items())
    selection = f"epochs of slm, csr and joint selected by: {policies} (`oracle` and `held-out` use ground truth)"
    if all(run.selection.policy == "last" for run in runs.values()):
        selection = "last epoch of every stage, no selection"
    text += f" {', '.join(splits)}; {selection}."
    text += f" {from_masks} the {threshold.policy} threshold." if {*columns} - {*EVALUATIONS} else " No CRF."
    fixed = f" The fixed threshold is {threshold.value}; `oracle` is the best threshold on the ground truth."
    return text + fixed * bool({*columns} & {*EVALUATIONS}) + refined + epochs


def _epochs(runs: Iterable[Settings], columns: Sequence[str]) -> str:
    """Return the sentence that names the epochs of every training behind the columns; "" for none."""
    parts = []
    for stage in LEARNING if "segment" in columns else LEARNING[:-1]:
        trained = [run for run in runs if stage in stages_of(run) and (stage, run.cpl.source) != ("cpl", "manual")]
        numbers = sorted({getattr(run, "csr" if stage == "joint" else stage).epochs for run in trained})
        parts += [f"{stage} {' or '.join(map(str, numbers))}"] if numbers else []
    return f" Epochs: {', '.join(parts)}." if parts else ""


def _by_variant(values: dict[str, str]) -> str:
    """Return a value that all variants have, or each with its variant."""
    same = len({*values.values()}) == 1
    return f"`{next(iter(values.values()))}`" if same else ", ".join(f"{name} `{x}`" for name, x in values.items())
