"""Run commands, and create environments, outside the repository."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path


def run(folder: Path, *command: object, fails: bool = False, programs: Path | None = None, **environment: str) -> str:
    """Run a command in `folder`, with nothing of the repository in its environment; return all that it printed.

    A site's own Snakemake profile, or a Slurm job that the tests run in, does not steer it either.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE_", "SLURM_", "PYTHON", "SEMPLES_"))}
    path = [programs, Path(str(command[0])).parent, env["PATH"]]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=env | {"PATH": os.pathsep.join(str(entry) for entry in path if entry)} | environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    text = f"{done.stdout}\n{done.stderr}"
    assert (done.returncode != 0) == fails, text
    return text


def environment(folder: Path) -> Path:
    """Create a virtual environment with the packages of this one, without semples; return its interpreter.

    A .pth file names the folder of the packages. Python does not read the .pth files inside that folder, so that an
    editable installation of semples has no effect.
    """
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    lines = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "packages_of_the_tests.pth").write_text("\n".join(sorted(lines)), encoding="utf-8")
    return folder / "bin" / "python"
