"""The one error that a user reads, and the faults of files and machines that become one."""

import errno
import os
import re

PARTIAL = re.compile(r"\.([^/\n]+)\.partial-\d+(-old)?")  # name of an output until it is complete
_CODE = re.compile(r"(?:\[Errno |errno = |code: |os error )(\d+)")  # in texts of HDF5 and safetensors
_SPACE = ("free space", "free some, or write to another disk; then start again")
_ACCESS = ("a path that you may read or write", "change the permissions, or choose another path")
_AGAIN = ("a disk that answers", "check the disk or the network; then start again")
_EXPECTED = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _SPACE),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _ACCESS),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ETIMEDOUT), _AGAIN),
    **dict.fromkeys((errno.ENOENT, errno.ELOOP), ("a path that exists", "correct the path")),
    errno.ENOTDIR: ("a folder", "correct the path"),
    **dict.fromkeys((errno.EISDIR, errno.ENODEV), ("a file", "name a file, not a folder")),
    errno.ENAMETOOLONG: ("a name of at most 255 bytes", "shorten the name"),
    errno.EFBIG: ("a file below the limit", "raise `ulimit -f`; then start again"),
    errno.EMFILE: ("files below the limit", "raise `ulimit -n`, or lower `run.threads`; then start again"),
}
_MEMORY = re.compile("out of memory|can't allocate memory|cannot allocate memory|insufficient memory", re.IGNORECASE)
_SHORT = re.compile(r"requested and \d+ written|unexpected pos \d+ vs|PytorchStreamWriter failed")  # of NumPy and torch


class SemplesError(Exception):
    """Bad input. The message names the file, what was found there, what is expected, and the remedy."""

    def __init__(self, where: object, actual: str, expected: str, remedy: str) -> None:
        super().__init__(where, actual, expected, remedy)  # as they came, so that it travels between processes

    def __str__(self) -> str:
        where, actual, expected, remedy = self.args
        text = f"{where}\n  found:    {actual}\n  expected: {expected}\n  remedy:   {remedy}"
        return PARTIAL.sub(r"\1", text)


def fault(error: BaseException, where: object) -> SemplesError | None:
    """Return the error for a fault of a file, a disk or the memory; None for anything else.

    Args:
        where: Named where `error` names no file.
    """
    text = str(error)
    match = _CODE.search(text)
    code = getattr(error, "errno", None) or (int(match[1]) if match else None)
    if isinstance(error, MemoryError) or code == errno.ENOMEM or _MEMORY.search(text):
        remedy = "lower the stage's `batch`, `run.threads` or `data.max_side`, or use a larger machine"
        return SemplesError(where, "no memory is left", "room for the images and the network", remedy)
    if _SHORT.search(text):
        return SemplesError(where, "a write that ended early, as on a full disk", *_SPACE)
    if code not in _EXPECTED:
        return None
    return SemplesError(getattr(error, "filename", None) or where, os.strerror(code), *_EXPECTED[code])
