"""The one error that a user reads."""


class SemplesError(Exception):
    """Bad input. The message names the file, what was found there, what is expected, and the remedy."""

    def __init__(self, where: object, actual: str, expected: str, remedy: str) -> None:
        super().__init__(where, actual, expected, remedy)  # as they came, so that it travels between processes

    def __str__(self) -> str:
        where, actual, expected, remedy = self.args
        return f"{where}\n  found:    {actual}\n  expected: {expected}\n  remedy:   {remedy}"
