"""Build the package with workflow/ and envs/ inside it, as semples/workflow and semples/envs. See pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["semples*"]), "semples.workflow", "semples.envs"],
    package_dir={"semples.workflow": "workflow", "semples.envs": "envs"},
)
