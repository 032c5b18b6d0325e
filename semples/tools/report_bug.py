"""report-bug: print what the report of a bug needs, without the names of person and computer. Nothing is sent."""

import getpass
import os
import platform
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import metadata
from itertools import chain
from pathlib import Path

import yaml

from semples import __version__
from semples.config import load
from semples.config.settings import Config
from semples.errors import SemplesError
from semples.provenance import PACKAGES

SHOWN = (*PACKAGES[1:], "torchvision", "numpy", "h5py", "pydantic", "snakemake", "transformers")
LOGS = 5  # newest logs that are shown, besides Snakemake's own
TAIL = 65_536  # bytes at the end of a log that are read
WIDTH = 400  # letters of a line that are shown
NOBODY = {"root", "user", "ubuntu", "runner", "jovyan", "semples", "localhost"}  # names that tell nothing
OTHER_HOME = re.compile(r"(?<![\w.~-])/(?:home|Users)/[^/\s\"':,;]+")
OTHER_HOST = re.compile(r"^host: .*$", re.MULTILINE)  # of a node of a cluster, in Snakemake's logs
CREDENTIALS = re.compile(r"(?<=://)[^/\s@]+@")
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
NOTE = "Read this before you post it: names of images and classes, and folders outside your home, are still in it."


def run(source: str, base: Path | None, lines: int) -> None:
    """Print, as Markdown, versions, the settings that `source` names, and the last `lines` of the newest logs.

    The error of settings that cannot be read stands in their place: they may be the bug.

    Args:
        source: YAML file of settings, or JSON text.
        base: Folder of the run; None for results/<name>, or for all runs where the settings do not say the name.
    """
    replace, name = anonymiser(), ""
    try:
        values = load.read(source)
        # a long line would be broken inside a path, where nothing recognises it
        settings = yaml.safe_dump(values.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100_000)
        name = values.name if isinstance(values, Config) else ""
    except SemplesError as error:
        settings = f"error: {error}"
    folder = base or Path("results", name)
    logs = _newest_logs(folder, "logs/**/*.log" if base or name else "*/logs/**/*.log")
    print(f"{NOTE}\n")
    print(_block("Versions", replace("\n".join(_versions()))))
    print(_block("Settings", replace(settings)))
    for path in logs:
        print(_block(replace(str(path)), _end(path, lines, replace)))
    if not logs:
        print(replace(f"No log below {folder}."))


def _block(title: str, text: str) -> str:
    return f"### {title}\n\n~~~~\n{text.rstrip()}\n~~~~\n"


def _versions() -> Iterator[str]:
    """Yield a line for the system, for Python, for each package that matters, and for CUDA."""
    yield " ".join(["system", platform.system(), platform.machine(), *platform.libc_ver()]).rstrip()
    yield f"Python {platform.python_version()}"
    yield f"semples {__version__}"
    for package in SHOWN:
        with suppress(metadata.PackageNotFoundError):
            yield f"{package} {metadata.version(package)}"
    try:
        import torch
    except (ImportError, OSError) as error:  # a broken installation may be the bug
        yield f"PyTorch cannot be imported: {error}"
        return
    cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield f"CUDA of PyTorch: {torch.version.cuda or 'none'}; GPUs: {', '.join(cards) or 'none'}"


def _newest_logs(folder: Path, pattern: str) -> list[Path]:
    """Return the newest logs of jobs in `folder` and of downloads, and Snakemake's newest one; the newest first."""
    logs = _by_time(chain(folder.glob(pattern), Path().glob("downloads/*.log")))[:LOGS]
    return _by_time([*logs, *_by_time(Path().glob(".snakemake/log/*.log"))[:1]])


def _by_time(paths: Iterable[Path]) -> list[Path]:
    return sorted((path for path in paths if path.is_file()), key=lambda path: path.stat().st_mtime, reverse=True)


def _end(path: Path, lines: int, replace: Callable[[str], str]) -> str:
    """Return the last lines of a log, with their names replaced; of a progress bar only its last state."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            cut = file.tell() > 0
            text = file.read().decode("utf-8", errors="replace")
    except OSError as error:
        return f"unreadable: {error.strerror}"
    if cut:  # half a name would not be recognised
        text = re.split(r"[\r\n]", text, maxsplit=1)[-1]
    states = [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip().split("\n")[-lines:]]
    return "\n".join(line if len(line) <= WIDTH else f"{line[:WIDTH]} ..." for line in map(replace, states))


def anonymiser() -> Callable[[str], str]:
    """Return a function that replaces home folders, user and host names, passwords in addresses, and e-mail addresses.

    A name of four letters or more is replaced inside longer words too, a shorter one only where it stands alone.
    """
    homes, users = _homes_and_users()
    hosts = {socket.gethostname(), platform.node()}
    hosts |= {host.partition(".")[0] for host in hosts}
    rules = [(re.compile(rf"(?<![\w.~-]){re.escape(home)}(?![\w-])"), "~") for home in _longest_first(homes)]
    rules += [(OTHER_HOME, "~"), (OTHER_HOST, "host: <host>"), (CREDENTIALS, ""), (EMAIL, "<e-mail>")]
    rules += [(_pattern(name), "<host>") for name in _longest_first(hosts)]
    rules += [(_pattern(name), "<person>") for name in _longest_first(users)]

    def replace(text: str) -> str:
        for pattern, replacement in rules:
            text = pattern.sub(replacement, text)
        return text

    return replace


def _homes_and_users() -> tuple[set[str], set[str]]:
    """Return the paths of the home folder, and the names by which the system knows the person."""
    users = {os.environ.get(key, "") for key in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    homes = {os.environ.get("HOME", "")}
    with suppress(ImportError, KeyError, OSError):  # a user without an entry, as in a container
        import pwd

        users.add(getpass.getuser())
        entry = pwd.getpwuid(os.getuid())
        users |= {entry.pw_name, entry.pw_gecos.partition(",")[0]}
        homes.add(entry.pw_dir)
    homes |= {os.path.realpath(home) for home in homes if home}
    return {home.rstrip("/") for home in homes}, users  # HOME=/, as in a container, becomes "" and counts for nothing


def _longest_first(names: set[str]) -> list[str]:
    return sorted((name for name in names if name and name.lower() not in NOBODY), key=len, reverse=True)


def _pattern(name: str) -> re.Pattern[str]:
    word = re.escape(name)
    return re.compile(word if len(name) >= 4 else rf"(?<![^\W_]){word}(?![^\W_])", re.IGNORECASE)
