"""Simulated bedside devices and the load test: they know the hub only from outside."""
