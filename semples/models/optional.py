"""Packages that only some settings need."""

from importlib.util import find_spec
from typing import Any

from semples.errors import SemplesError


def require_transformers(setting: str, extra: str) -> None:
    """Raise SemplesError unless the library that a setting needs is installed, with SciPy for Mask2Former's matching.

    Args:
        extra: The optional extra of this package that has it.
    """
    for module in ("transformers", "scipy"):
        if find_spec(module) is None:
            remedy = f"pip install 'transformers>=5.0' scipy, or pip install '.[{extra}]' in a checkout"
            raise SemplesError(setting, f"no module {module!r}", f"the optional extra `{extra}`", remedy)


def import_transformers(setting: str, extra: str) -> Any:
    """Return the library, after `require_transformers`."""
    require_transformers(setting, extra)
    import scipy.optimize  # noqa: F401
    import transformers

    return transformers
