"""Where the numbers of the published code lie, and the settings that they are compared with."""

from pathlib import Path

from semples.config.load import load

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
PARITY = load({"preset": "voc12", "parity": "published"})
