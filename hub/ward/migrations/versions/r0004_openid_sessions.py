"""What the OpenID provider calls a person, and what it wants to see when they sign out.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; sessions of local users leave them empty."""
    op.add_column("user_session", sa.Column("subject", sa.Text(), nullable=True))
    op.add_column("user_session", sa.Column("id_token", sa.Text(), nullable=True))
