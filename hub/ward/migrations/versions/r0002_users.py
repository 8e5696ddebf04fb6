"""Local users and their sessions at nurse stations.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables and the counter of changes."""
    op.create_table(
        "user_account",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("full_name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=128), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "role IN ('nurse', 'charge-nurse', 'biomed', 'it', 'viewer')", name=op.f("ck_user_account_role")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_user_account")),
    )
    op.create_table(
        "user_session",
        sa.Column("sha256", sa.String(length=128), nullable=False),
        sa.Column("user", sa.String(length=128), nullable=False),
        sa.Column("full_name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=128), nullable=False),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("touched_ns", sa.BigInteger(), nullable=False),
        sa.Column("ends_ns", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "role IN ('nurse', 'charge-nurse', 'biomed', 'it', 'viewer')", name=op.f("ck_user_session_role")
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_user_session")),
    )
    op.create_index("ix_user_session_user", "user_session", ["user"], unique=False)
    op.bulk_insert(
        sa.table("revision", sa.column("part", sa.String), sa.column("value", sa.BigInteger)),
        [{"part": "users", "value": 0}],
    )
