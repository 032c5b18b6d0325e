"""The one error a user is meant to read."""


class SemplesError(Exception):
    """Bad input. The message names the file, what was found, what was expected and the remedy."""

    def __init__(self, where: object, found: str, expected: str, remedy: str) -> None:
        super().__init__(where, found, expected, remedy)  # as they came, so that it travels between processes

    def __str__(self) -> str:
        where, found, expected, remedy = self.args
        return f"{where}\n  found:    {found}\n  expected: {expected}\n  remedy:   {remedy}"
