"""Settings: their sections, presets, variants and published values."""
