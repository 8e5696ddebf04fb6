"""The HTTP API: what nurse stations and operators see of the hub."""
