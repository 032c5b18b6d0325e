"""How jobs run: devices, GPU leases, processes, seeds, matrix products of the CPU."""
