"""The registry: who is where, who may come in.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table and the counters of changes."""
    op.create_table(
        "device",
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("definition", sa.String(length=128), nullable=False),
        sa.Column("area", sa.String(length=128), nullable=False),
        sa.Column("interval_s", sa.Double(), nullable=True),
        sa.Column("gateway", sa.String(length=128), nullable=True),
        sa.Column("registered", sa.Boolean(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=True),
        sa.Column("last_topic", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("site", "id", name=op.f("pk_device")),
    )
    op.create_table(
        "erasure",
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("asked_ns", sa.BigInteger(), nullable=False),
        sa.Column("done_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("patient", name=op.f("pk_erasure")),
    )
    op.create_table(
        "patient",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("age_group", sa.String(length=128), nullable=False),
        sa.Column("pregnant", sa.Boolean(), nullable=False),
        sa.Column("spo2_scale", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "age_group IN ('adult', 'paediatric', 'neonatal')", name=op.f("ck_patient_age_group")
        ),
        sa.CheckConstraint("spo2_scale IN (1, 2)", name=op.f("ck_patient_spo2_scale")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
    )
    op.create_table(
        "placement_change",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=128), nullable=False),
        sa.Column("period", sa.BigInteger(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.String(length=128), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("bed_before", sa.String(length=128), nullable=True),
        sa.Column("patient_before", sa.String(length=128), nullable=True),
        sa.Column("from_before_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_before_ns", sa.BigInteger(), nullable=True),
        sa.Column("struck_out", sa.Boolean(), nullable=False),
        sa.Column("bed_after", sa.String(length=128), nullable=True),
        sa.Column("patient_after", sa.String(length=128), nullable=True),
        sa.Column("from_after_ns", sa.BigInteger(), nullable=True),
        sa.Column("until_after_ns", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('stay', 'placement')", name=op.f("ck_placement_change_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placement_change")),
    )
    op.create_index("ix_placement_change_period", "placement_change", ["kind", "period"], unique=False)
    op.create_table(
        "revision",
        sa.Column("part", sa.String(length=128), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("part", name=op.f("pk_revision")),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site")),
    )
    op.create_table(
        "token",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("role", sa.String(length=128), nullable=False),
        sa.Column("sha256", sa.String(length=128), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ns", sa.BigInteger(), nullable=True),
        sa.Column("last_used_ns", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "role IN ('nurse', 'charge-nurse', 'biomed', 'it', 'viewer')", name=op.f("ck_token_role")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token")),
        sa.UniqueConstraint("sha256", name=op.f("uq_token_sha256")),
    )
    op.create_table(
        "patient_identifier",
        sa.Column("system", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(
            ["patient"], ["patient.id"], name=op.f("fk_patient_identifier_patient_patient")
        ),
        sa.PrimaryKeyConstraint("system", "value", name=op.f("pk_patient_identifier")),
    )
    op.create_index(op.f("ix_patient_identifier_patient"), "patient_identifier", ["patient"], unique=False)
    op.create_table(
        "ward",
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("area", sa.String(length=128), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["site.id"], name=op.f("fk_ward_site_site")),
        sa.PrimaryKeyConstraint("site", "id", name=op.f("pk_ward")),
    )
    op.create_table(
        "bed",
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("ward", sa.String(length=128), nullable=False),
        sa.Column("room", sa.String(length=128), nullable=True),
        sa.ForeignKeyConstraint(
            ["site", "ward"], ["ward.site", "ward.id"], name=op.f("fk_bed_site_ward_ward")
        ),
        sa.PrimaryKeyConstraint("site", "id", name=op.f("pk_bed")),
    )
    op.create_table(
        "placement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.Column("device", sa.String(length=128), nullable=False),
        sa.Column("bed", sa.String(length=128), nullable=True),
        sa.Column("patient", sa.String(length=128), nullable=True),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(bed IS NULL) <> (patient IS NULL)", name=op.f("ck_placement_one_place")),
        sa.CheckConstraint("until_ns > from_ns", name=op.f("ck_placement_order")),
        sa.ForeignKeyConstraint(["patient"], ["patient.id"], name=op.f("fk_placement_patient_patient")),
        sa.ForeignKeyConstraint(
            ["site", "bed"], ["bed.site", "bed.id"], name=op.f("fk_placement_site_bed_bed")
        ),
        sa.ForeignKeyConstraint(
            ["site", "device"], ["device.site", "device.id"], name=op.f("fk_placement_site_device_device")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placement")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_placement_bed", "placement", ["site", "bed", "from_ns"], unique=False)
    op.create_index("ix_placement_device", "placement", ["site", "device", "from_ns"], unique=False)
    op.create_index("ix_placement_patient", "placement", ["patient", "from_ns"], unique=False)
    op.create_table(
        "stay",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site", sa.String(length=128), nullable=False),
        sa.Column("bed", sa.String(length=128), nullable=False),
        sa.Column("patient", sa.String(length=128), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("until_ns > from_ns", name=op.f("ck_stay_order")),
        sa.ForeignKeyConstraint(["patient"], ["patient.id"], name=op.f("fk_stay_patient_patient")),
        sa.ForeignKeyConstraint(["site", "bed"], ["bed.site", "bed.id"], name=op.f("fk_stay_site_bed_bed")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stay")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_stay_bed", "stay", ["site", "bed", "from_ns"], unique=False)
    op.create_index("ix_stay_patient", "stay", ["patient", "from_ns"], unique=False)
    op.bulk_insert(
        sa.table("revision", sa.column("part", sa.String), sa.column("value", sa.BigInteger)),
        [{"part": "placements", "value": 0}, {"part": "tokens", "value": 0}],
    )
