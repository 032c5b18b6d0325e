"""What stands beside the workflow for other machines: variants of an environment, profiles, container definitions."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("variant", "build"), [("cpu", "cpu*"), ("gpu", "cuda*")])
def test_a_variant_differs_from_its_environment_in_pytorchs_build_alone(variant, build):
    base, other = (
        yaml.safe_load((ROOT / "envs" / path).read_text()) for path in ("torch.yaml", f"variants/torch-{variant}.yaml")
    )
    lines = [
        re.sub(r"^(pytorch=[0-9.]+)$", rf"\1={build}", x) if isinstance(x, str) else x for x in base["dependencies"]
    ]
    assert other == {**base, "name": f"semples-torch-{variant}", "dependencies": lines}
    assert lines != base["dependencies"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "workflow/profiles").glob("*/profile.yaml")), ids=lambda p: p.parent.name
)
def test_a_profile_names_rules_that_there_are(path, workflow_rules):
    profile = yaml.safe_load(path.read_text())
    named = set(profile.get("set-resources", {})) | set(
        filter(None, str(profile.get("slurm-array-jobs", "")).split(","))
    )
    assert named <= set(workflow_rules)


@pytest.mark.parametrize("name", ["Containerfile", "semples.def"])
def test_a_container_takes_the_constraints_and_files_that_there_are(name):
    text = (ROOT / "containers" / name).read_text()
    assert "--constraint constraints.txt" in text
    copied = re.findall(r"^\s+(\S+) /opt/semples/\S+$", text, re.MULTILINE)
    for line in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        copied += line.split()
    assert copied
    assert all((ROOT / file).exists() for file in copied)
