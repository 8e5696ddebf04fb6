"""Alarm conditions: when they begin and end, and how that is told."""
