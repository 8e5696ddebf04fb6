"""Alembic migrations of the registry's database; the hub runs them when it starts."""
