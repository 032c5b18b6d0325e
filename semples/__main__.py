"""Run the `semples` command by `python -m semples`."""

from semples.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
