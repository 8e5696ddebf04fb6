"""Programs that prove who they are by signing.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table and the counter of changes."""
    op.create_table(
        "smart_client",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("jwks", sa.Text(), nullable=True),
        sa.Column("jwks_url", sa.Text(), nullable=True),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(jwks IS NULL) <> (jwks_url IS NULL)", name=op.f("ck_smart_client_keys")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smart_client")),
    )
    op.bulk_insert(
        sa.table("revision", sa.column("part", sa.String), sa.column("value", sa.BigInteger)),
        [{"part": "clients", "value": 0}],
    )
