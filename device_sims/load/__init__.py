"""The load test: an open-loop generator, faults, and the reckoning with what the hub stored."""
