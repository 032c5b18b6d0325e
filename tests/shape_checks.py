"""Check the shapes and types of every call into semples.models and semples.evaluation.

jaxtyping's import hook wraps the functions of modules that are imported after this one. Processes that tests start run
without it.
"""

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for mypy
install_import_hook(["semples.models", "semples.evaluation"], "shape_checks.check")
