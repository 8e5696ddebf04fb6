"""The registry's tables. Patients' names and numbers live in `patient` and `patient_identifier` alone."""

from datetime import date
from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from hub.ward.model import AgeGroup

_NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
# SQLite only fills INTEGER PRIMARY KEY by itself.
_Serial = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    """All tables of the database; every constraint has a name, so that a migration can change it."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {int: BigInteger(), str: String(128), float: Double()}  # noqa: RUF012 - SQLAlchemy's way


class RevisionRow(Base):
    """Counts the changes of one part of the database; who changes that part holds this row's lock."""

    __tablename__ = "revision"
    part: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


class SiteRow(Base):
    """A hospital or branch."""

    __tablename__ = "site"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]


class WardRow(Base):
    """A ward of a site."""

    __tablename__ = "ward"
    site: Mapped[str] = mapped_column(ForeignKey("site.id"), primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    area: Mapped[str]


class BedRow(Base):
    """A bed; its id is unique within the site."""

    __tablename__ = "bed"
    site: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    ward: Mapped[str]
    room: Mapped[str | None]
    __table_args__ = (ForeignKeyConstraint(["site", "ward"], ["ward.site", "ward.id"]),)


class PatientRow(Base):
    """A patient; every other table and every store knows the surrogate id alone."""

    __tablename__ = "patient"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    birth_date: Mapped[date | None]
    age_group: Mapped[AgeGroup] = mapped_column(String(128))
    pregnant: Mapped[bool]
    spo2_scale: Mapped[int]
    __table_args__ = (
        CheckConstraint("age_group IN ('adult', 'paediatric', 'neonatal')", name="age_group"),
        CheckConstraint("spo2_scale IN (1, 2)", name="spo2_scale"),
    )


class IdentifierRow(Base):
    """A number by which others know a patient."""

    __tablename__ = "patient_identifier"
    system: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str] = mapped_column(primary_key=True)
    patient: Mapped[str] = mapped_column(ForeignKey("patient.id"), index=True)


class DeviceRow(Base):
    """A device as provisioned, or an unknown one that knocked."""

    __tablename__ = "device"
    site: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    definition: Mapped[str]
    area: Mapped[str]
    interval_s: Mapped[float | None]
    gateway: Mapped[str | None]
    registered: Mapped[bool]
    first_seen_ns: Mapped[int | None]
    last_topic: Mapped[str | None] = mapped_column(Text)


class StayRow(Base):
    """A patient in a bed, [from_ns, until_ns); until_ns is null while it is open."""

    __tablename__ = "stay"
    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    site: Mapped[str]
    bed: Mapped[str]
    patient: Mapped[str] = mapped_column(ForeignKey("patient.id"))
    from_ns: Mapped[int]
    until_ns: Mapped[int | None]
    __table_args__ = (
        ForeignKeyConstraint(["site", "bed"], ["bed.site", "bed.id"]),
        CheckConstraint("until_ns > from_ns", name="order"),
        Index("ix_stay_bed", "site", "bed", "from_ns"),
        Index("ix_stay_patient", "patient", "from_ns"),
        {"sqlite_autoincrement": True},
    )


class PlacementRow(Base):
    """A device at a bed or on a patient, [from_ns, until_ns)."""

    __tablename__ = "placement"
    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    site: Mapped[str]
    device: Mapped[str]
    bed: Mapped[str | None]
    patient: Mapped[str | None] = mapped_column(ForeignKey("patient.id"))
    from_ns: Mapped[int]
    until_ns: Mapped[int | None]
    __table_args__ = (
        ForeignKeyConstraint(["site", "device"], ["device.site", "device.id"]),
        ForeignKeyConstraint(["site", "bed"], ["bed.site", "bed.id"]),
        CheckConstraint("until_ns > from_ns", name="order"),
        CheckConstraint("(bed IS NULL) <> (patient IS NULL)", name="one_place"),
        Index("ix_placement_device", "site", "device", "from_ns"),
        Index("ix_placement_bed", "site", "bed", "from_ns"),
        Index("ix_placement_patient", "patient", "from_ns"),
        {"sqlite_autoincrement": True},
    )


class PlacementChangeRow(Base):
    """A correction of a stay or a placement: who, when, why, from what to what."""

    __tablename__ = "placement_change"
    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    kind: Mapped[str]
    period: Mapped[int]
    at_ns: Mapped[int]
    who: Mapped[str]
    why: Mapped[str] = mapped_column(Text)
    bed_before: Mapped[str | None]
    patient_before: Mapped[str | None]
    from_before_ns: Mapped[int]
    until_before_ns: Mapped[int | None]
    struck_out: Mapped[bool]
    bed_after: Mapped[str | None]
    patient_after: Mapped[str | None]
    from_after_ns: Mapped[int | None]
    until_after_ns: Mapped[int | None]
    __table_args__ = (
        CheckConstraint("kind IN ('stay', 'placement')", name="kind"),
        Index("ix_placement_change_period", "kind", "period"),
    )


class ErasureRow(Base):
    """An erasure asked for and, once done_ns is set, carried out: all that is left of the patient."""

    __tablename__ = "erasure"
    patient: Mapped[str] = mapped_column(primary_key=True)
    asked_ns: Mapped[int]
    done_ns: Mapped[int | None]


class TokenRow(Base):
    """An access token: what it may do and until when; of the secret, its SHA-256 alone."""

    __tablename__ = "token"
    id: Mapped[int] = mapped_column(_Serial, primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    sha256: Mapped[str]
    created_ns: Mapped[int]
    expires_ns: Mapped[int | None]
    revoked_ns: Mapped[int | None]
    last_used_ns: Mapped[int | None]
    __table_args__ = (
        UniqueConstraint("sha256"),
        CheckConstraint("role IN ('nurse', 'charge-nurse', 'biomed', 'it', 'viewer')", name="role"),
    )


class UserRow(Base):
    """A user; of the password its argon2id hash alone."""

    __tablename__ = "user_account"
    name: Mapped[str] = mapped_column(primary_key=True)
    full_name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str] = mapped_column(Text)
    created_ns: Mapped[int]
    changed_ns: Mapped[int]
    __table_args__ = (
        CheckConstraint("role IN ('nurse', 'charge-nurse', 'biomed', 'it', 'viewer')", name="role"),
    )


class SessionRow(Base):
    """Somebody signed in at a station; of the secret its SHA-256 alone. Of hub.sessions.

    `subject` and `id_token` are the OpenID provider's, null for a local user.
    """

    __tablename__ = "user_session"
    sha256: Mapped[str] = mapped_column(primary_key=True)
    user: Mapped[str] = mapped_column(String(128), index=True)
    full_name: Mapped[str]
    role: Mapped[str]
    opened_ns: Mapped[int]
    touched_ns: Mapped[int]
    ends_ns: Mapped[int]
    subject: Mapped[str | None] = mapped_column(Text)
    id_token: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        CheckConstraint("role IN ('nurse', 'charge-nurse', 'biomed', 'it', 'viewer')", name="role"),
    )


class ClientRow(Base):
    """A program that signs (SMART's private_key_jwt): its public keys, or where they are, and its scopes."""

    __tablename__ = "smart_client"
    id: Mapped[str] = mapped_column(primary_key=True)
    scopes: Mapped[str] = mapped_column(Text)
    jwks: Mapped[str | None] = mapped_column(Text)
    jwks_url: Mapped[str | None] = mapped_column(Text)
    created_ns: Mapped[int]
    expires_ns: Mapped[int | None]
    __table_args__ = (CheckConstraint("(jwks IS NULL) <> (jwks_url IS NULL)", name="keys"),)
