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
PYPI_NAME_OF_MODULE |= {"open_clip": "open-clip-torch", "pydensecrf": "pydensecrf2", "skimage": "scikit-image"}
# what builds and runs the others: in no wheel
TOOLS = {"python", "pip", "cxx-compiler"}


def env_of(rule) -> str | None:
    """Name of the environment file of one of Snakemake's rules, None without one."""
    return rule.conda_env and Path(str(rule.conda_env)).stem


def stage_of(rule) -> str:
    """The subcommand of `semples` that a rule runs; rules that share a command name it in their params."""
    word = re.search(r"-m semples (\S+)", rule.shellcmd)[1]
    return rule.params[word[len("{params.") : -1]].split()[0] if word.startswith("{params.") else word


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


# pandas imports these only when it is asked for such a table
LATE_IMPORTS = {"to_markdown": "tabulate", "to_latex": "jinja2"}


def imports_of(module: str, inside_functions: bool = True) -> set[str]:
    """Dotted names that a module of the package imports; of `from a import b` both a and a.b."""
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Attribute) and node.attr in LATE_IMPORTS:
            names.add(LATE_IMPORTS[node.attr])
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def third_party(stage: str) -> set[str]:
    """Top-level modules from outside that a stage's command imports, by way of whatever modules of the package."""
    # the command line imports a stage only when asked for it: what its functions import is not counted
    waiting = {"semples.cli", "semples.cli.adapters", f"semples.stages.{stage}", f"semples.tools.{stage}"}
    waiting |= {f"semples.stages.{stage}.{path.stem}" for path in (ROOT / "semples/stages" / stage).glob("*.py")}
    if stage == "data":  # it imports the importer that the settings name
        waiting |= {f"semples.data.importers.{path.stem}" for path in (ROOT / "semples/data/importers").glob("*.py")}
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        if module.startswith("semples") and source_of(module).exists():
            waiting |= imports_of(module, inside_functions=not module.startswith("semples.cli")) - seen
    return {module.partition(".")[0] for module in seen} - {"semples"} - sys.stdlib_module_names


def test_every_rule_with_a_command_names_an_environment(workflow_rules):
    with_command = {name: env_of(rule) for name, rule in workflow_rules.items() if rule.shellcmd}
    assert len(with_command) > 20
    assert set(with_command.values()) == set(ENVS) == {"data", "torch", "crf", "plot"}


def test_rules_that_share_a_command_run_their_own_stage(workflow_rules):
    for name in ("classify", "slm", "cpl", "csr", "joint", "heatmap"):
        assert stage_of(workflow_rules[name]) == name
    assert workflow_rules["confusion"].params["command"] == "figures confusion"


def test_every_rule_with_a_command_says_what_it_does(workflow_rules):
    docstrings = [rule.docstring for rule in workflow_rules.values() if rule.shellcmd]
    assert all(docstrings)
    assert len(set(docstrings)) == len(docstrings)


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
def test_an_environment_holds_what_its_stages_import_and_nothing_else(env, workflow_rules):
    stages = {stage_of(rule) for rule in workflow_rules.values() if rule.shellcmd and env_of(rule) == env}
    imported = {module for stage in stages for module in third_party(stage)}
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
