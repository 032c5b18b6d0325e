"""The speeds by which the cost of a job is estimated: measured on this processor, or assumed.

`semples plan --calibrate` measures, and keeps the speeds in the user's cache folder. calibration.json has those assumed
elsewhere and their source. Snakemake imports this module while it plans, so it imports neither numpy nor torch.
"""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from semples.errors import SemplesError
from semples.files import read_json, write_json
from semples.runtime.user_cache import cache_file

log = logging.getLogger(__name__)
ASSUMED = Path(__file__).with_name("calibration.json")


class Speed(NamedTuple):
    """Speeds of one device, `cpu` or `cuda`: `assumed` by name, and those of them that were `measured`.

    The rates of the stages lie under `rates`, in GFLOP a second: assumed ones by stage, `all` for the other stages;
    measured ones by `semples.planning.cost.rate_key`.
    """

    device: str
    assumed: dict[str, Any]
    measured: dict[str, Any]

    def value(self, name: str) -> float:
        """Return a speed by its name, measured if it was."""
        return self.measured.get(name, self.assumed[name])

    def rate(self, stage: str, key: str) -> tuple[float, bool]:
        """Return the GFLOP a second of a stage, and whether they were measured for the networks of `key`.

        Assumed rates of a measured machine are scaled by its matrix product.
        """
        if rate := self.measured.get("rates", {}).get(key):
            return rate, True
        rates, product = self.assumed["rates"], self.assumed["product_gflop_per_second"]
        return rates.get(stage, rates["all"]) * self.value("product_gflop_per_second") / product, False

    def source(self) -> str:
        """Return in words what the speeds hold for, and what may be done about assumed ones."""
        if not self.measured:
            return f"{self.assumed['from']}. `semples plan --calibrate` measures this machine"
        factor = self.value("product_gflop_per_second") / self.assumed["product_gflop_per_second"]
        return f"{self.measured['from']}; assumed ones are {factor:.2f} times those of calibration.json"


def assumed_speed(device: str) -> Speed:
    """Return the speeds of `cpu` or `cuda` that hold for no machine in particular."""
    values = json.loads(ASSUMED.read_text(encoding="utf-8"))
    return Speed(device, values["any"] | values[device], {})


def speed_here(device: str) -> Speed:
    """Return the speeds of `cpu` or `cuda`, with those that were measured on a machine with this processor."""
    measured = {}
    try:
        if (path := cache_file(f"speed-{device}")).exists():
            measured = read_json(path, "plan --calibrate", "from", "rates")
    except (OSError, RuntimeError, SemplesError) as error:  # RuntimeError: the user has no home folder
        log.warning("no measured speeds: %s", error)
    return assumed_speed(device)._replace(measured=measured)


def keep_speed(device: str, measured: dict[str, Any]) -> None:
    """Write measured speeds of a device for this processor; rates that were measured for other networks stay."""
    rates = speed_here(device).measured.get("rates", {}) | measured["rates"]
    write_json(cache_file(f"speed-{device}"), measured | {"rates": rates})
