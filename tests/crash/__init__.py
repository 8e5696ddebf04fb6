"""Kills, outages and full disks: what a device was told is safe must be in the store, once."""
