"""The conda environments hold what the stages they serve import, nothing else, in the versions of constraints.txt."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENVS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / "envs").glob("*.yaml")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# a conda-forge package, or a module, whose name on PyPI is another
PYPI_NAME_OF_CONDA = {"matplotlib-base": "matplotlib", "py-opencv": "opencv-python-headless", "pytorch": "torch"}
PYPI_NAME_OF_CONDA |= {"libopencv": "opencv-python-headless"}
PYPI_NAME_OF_MODULE = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml"}
PYPI_NAME_OF_MODULE |= {"open_clip": "open-clip-torch", "pydensecrf": "pydensecrf2"}
# what builds and runs the others: in no wheel
TOOLS = {"python", "pip", "cxx-compiler"}

RULE = re.compile(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
RULES = {
    name: body for path in (ROOT / "workflow" / "rules").glob("*.smk") for name, body in RULE.findall(path.read_text())
}


def env_of(body: str) -> str | None:
    """Name of the environment file that a rule's text gives, None without one."""
    found = re.search(r'conda:\s+"\.\./\.\./envs/(\w+)\.yaml"', body)
    return found and found[1]


def stages_of(env: str) -> set[str]:
    """The subcommands of `semples` that rules run in an environment."""
    return {re.search(r"python -m semples (\w+)", body)[1] for body in RULES.values() if env_of(body) == env}


def conda_pins(env: str) -> dict[str, str]:
    """{name: version} of what conda installs."""
    names = [line.split("=")[:2] for line in ENVS[env]["dependencies"] if isinstance(line, str)]
    return {name: version for name, version in names if name not in TOOLS}


def pip_pins(env: str) -> dict[str, str]:
    """{name: version} of what pip installs into an environment."""
    lines = [line for entry in ENVS[env]["dependencies"] if isinstance(entry, dict) for line in entry["pip"]]
    return dict(line.split("==") for line in lines)


def constraints() -> dict[str, str]:
    """{PyPI name: version} of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def pypi_names(env: str) -> set[str]:
    """PyPI names of all that an environment installs."""
    return {PYPI_NAME_OF_CONDA.get(name, name) for name in conda_pins(env)} | set(pip_pins(env))


def source_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports_of(module: str, inside_functions: bool = True) -> set[str]:
    """Dotted names that a module of the package imports; of `from a import b` both a and a.b."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def third_party(stage: str) -> set[str]:
    """Top-level modules from outside that a stage's command imports, by way of whatever modules of the package."""
    # the command line imports a stage only when asked for it: what its functions import is not counted
    waiting = {"semples.cli", f"semples.stages.{stage}", f"semples.tools.{stage}"}
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        if module.startswith("semples") and source_of(module).exists():
            waiting |= imports_of(module, inside_functions=not module.startswith("semples.cli")) - seen
    return {module.partition(".")[0] for module in seen} - {"semples"} - sys.stdlib_module_names


def test_there_are_rules_and_environments():
    assert len(RULES) > 10
    assert set(ENVS) == {"data", "torch", "crf", "plot"}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_with_a_command_names_an_environment(rule):
    assert "shell:" not in RULES[rule] or env_of(RULES[rule]) in ENVS


@pytest.mark.parametrize("env", ENVS)
def test_an_environment_file_has_the_keys_that_conda_reads(env):
    assert list(ENVS[env]) == ["name", "channels", "dependencies"]
    assert ENVS[env]["name"] == f"semples-{env}"
    assert ENVS[env]["channels"] == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("env", ENVS)
def test_every_package_is_pinned(env):
    for entry in ENVS[env]["dependencies"]:
        if isinstance(entry, str):
            assert re.fullmatch(r"[a-z0-9_-]+=[0-9.]+(=[a-z0-9_*]+)?", entry), entry
        else:
            assert list(entry) == ["pip"]
            assert all(re.fullmatch(r"[a-z0-9_-]+==[0-9.]+", line) for line in entry["pip"]), entry


@pytest.mark.parametrize("env", ENVS)
def test_versions_are_those_of_the_constraints(env):
    # the fourth number of an OpenCV wheel counts its builds: conda-forge has none
    pins = {n: v.rpartition(".")[0] if n.startswith("opencv") else v for n, v in constraints().items()}
    for name, version in conda_pins(env).items():
        assert version == pins[PYPI_NAME_OF_CONDA.get(name, name)], name
    for name, version in pip_pins(env).items():
        assert version == pins[name], name


@pytest.mark.parametrize("env", ENVS)
def test_an_environment_holds_what_its_stages_import_and_nothing_else(env):
    imported = {module for stage in stages_of(env) for module in third_party(stage)}
    assert {PYPI_NAME_OF_MODULE.get(name, canonicalize_name(name)) for name in imported} == pypi_names(env)


@pytest.mark.parametrize("env", ENVS)
def test_the_python_of_an_environment_is_one_that_the_package_runs_on(env):
    version = next(line for line in ENVS[env]["dependencies"] if line.startswith("python=")).partition("=")[2]
    assert f"{version}.0" in SpecifierSet(PROJECT["requires-python"])


def test_the_constraints_are_exact_and_name_no_place():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+]+", line), line


def test_the_constraints_have_every_dependency_in_a_version_that_it_allows():
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for wanted in (Requirement(line) for group in groups for line in group):
        assert constraints()[canonicalize_name(wanted.name)] in wanted.specifier, wanted
