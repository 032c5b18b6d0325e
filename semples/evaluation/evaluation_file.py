"""The JSON that `semples evaluate` writes, as tables, figures and the CRF read it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveInt, ValidationError

from semples.errors import SemplesError
from semples.files import read_json

TITLES = {"cams": "CAM", "refine": "refined CAM", "crf": "CAM + CRF", "segment": "segmentation"}
MAPS = ("cams", "refine")  # kinds of evaluations that have thresholds
Share = Annotated[float, Field(ge=0, le=1)]


class Summary(BaseModel):
    """Numbers of masks, or of CAMs at one threshold; None where no pixel counts."""

    miou: Share | None
    classes: dict[str, dict[str, float | None]]
    threshold: Share | None = None
    interval: tuple[Share | None, Share | None] = (None, None)
    boundary_iou: Share | None = None


class Curve(BaseModel):
    """mIoU at every threshold."""

    threshold: list[Share]
    miou: list[Share]


class Evaluation(BaseModel):
    """An evaluation of CAMs by threshold policy, or of masks, whose policy is ""."""

    kind: Literal["cams", "refine", "crf", "segment"]
    split: str
    images: PositiveInt
    packages: str
    machine: str = ""
    policies: dict[str, Summary] = Field(min_length=1)
    curve: Curve | None = None

    @property
    def classes(self) -> list[str]:
        """Names of the classes, background among them."""
        return list(next(iter(self.policies.values())).classes)


def read_evaluation(path: Path) -> Evaluation:
    """Return an evaluation; raise SemplesError if the file is another."""
    values = read_json(path, "evaluate")
    policies = values if values.get("kind") in MAPS else {"policies": {"": values}}
    try:
        return Evaluation.model_validate(values | policies)
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"`{'.'.join(str(part) for part in first['loc'] if part != '')}`: {first['msg']}"
        expected, remedy = "an evaluation that `semples evaluate` wrote", "name one, or evaluate again"
        raise SemplesError(path, problem, expected, remedy) from None
