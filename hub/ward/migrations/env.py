"""Run migrations on the connection and in the transaction that `hub.ward.database` opened."""

from alembic import context

from hub.ward.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite can't alter most of a table in place; Alembic then copies it.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
