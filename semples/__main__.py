"""`python -m semples` is the `semples` command."""

from semples.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
