"""semples: weakly supervised semantic segmentation with learned background prompts (SemPLeS)."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["CamFile", "Predictor", "__version__", "read_manifest"]
_MODULES = {"CamFile": "data.cam_file", "Predictor": "inference.segmentation", "read_manifest": "data.manifest"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used: `import semples` alone needs no other package."""
    if name not in _MODULES:
        raise AttributeError(f"module 'semples' has no attribute {name!r}")
    return getattr(import_module(f"semples.{_MODULES[name]}"), name)
