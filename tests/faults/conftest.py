"""How many inputs Hypothesis draws: few in `make test`, many in `make faults`."""

from hypothesis import HealthCheck, settings

LAX = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}
settings.register_profile("tests", max_examples=40, derandomize=True, **LAX)
settings.register_profile("faults", max_examples=1000, **LAX)
settings.load_profile("tests")
