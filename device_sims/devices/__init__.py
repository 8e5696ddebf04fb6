"""Simulated devices without I/O: what they publish at a time. One module a kind of device."""
