from pathlib import Path

import pytest
from argon2 import PasswordHasher

from hub.sessions import Sessions, SessionTimes, csrf_token
from hub.users import Attempts, TooManyAttempts, Users
from hub.ward.model import NotInRegistry, RegistryRefused

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND
QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct horse battery"


class Clock:
    now_ns = START

    def __call__(self) -> int:
        return self.now_ns


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
async def users(url, clock):
    users = Users(url, clock, QUICK)
    await users.start()
    yield users
    await users.stop()


@pytest.fixture
async def sessions(url, clock):
    sessions = Sessions(url, clock, SessionTimes(idle_s=600, signed_s=3600, shown_s=86_400))
    await sessions.start()
    yield sessions
    await sessions.stop()


@pytest.fixture
async def anna(users):
    await users.add("anna", "Anna Berg", "nurse", PASSWORD)
    return await users.check("anna", PASSWORD)


async def test_a_user_comes_in_with_the_password_and_with_nothing_else(users, anna):
    assert (anna.name, anna.full_name, anna.role) == ("anna", "Anna Berg", "nurse")
    for name, guess in (("anna", PASSWORD + "x"), ("anna", ""), ("bob", PASSWORD), ("", "")):
        assert await users.check(name, guess) is None


async def test_no_password_is_in_the_files_and_the_hash_is_argon2id(users, anna, tmp_path):
    content = written(tmp_path)
    assert PASSWORD.encode() not in content
    assert b"$argon2id$" in content


@pytest.mark.parametrize(
    ("name", "full_name", "role", "password", "named"),
    [
        ("Anna", "Anna", "nurse", PASSWORD, "name"),
        ("", "Anna", "nurse", PASSWORD, "name"),
        ("anna", " ", "nurse", PASSWORD, "full name"),
        ("anna", "Anna", "boss", PASSWORD, "role"),
        ("anna", "Anna", "nurse", "short", "password"),
        ("anna", "Anna", "nurse", "x" * 300, "password"),
    ],
)
async def test_what_is_wrong_with_a_new_user_is_named(users, name, full_name, role, password, named):
    with pytest.raises(RegistryRefused, match=f"^{named}"):
        await users.add(name, full_name, role, password)
    assert await users.entries() == []


async def test_a_name_is_taken_once(users, anna):
    with pytest.raises(RegistryRefused, match="already"):
        await users.add("anna", "Another Anna", "it", PASSWORD)
    assert [user.role for user in await users.entries()] == ["nurse"]


async def test_a_changed_password_or_role_ends_the_sessions(users, sessions, anna):
    secret = await sessions.open(anna)
    await users.change("anna", role="charge-nurse", password="another password")
    await sessions.follow()
    assert sessions.verify(secret, START) is None
    assert await users.check("anna", PASSWORD) is None
    changed = await users.check("anna", "another password")
    assert changed.role == "charge-nurse"


async def test_a_removed_user_is_out(users, sessions, anna):
    secret = await sessions.open(anna)
    await users.remove("anna")
    await sessions.follow()
    assert sessions.verify(secret, START) is None
    assert await users.check("anna", PASSWORD) is None
    with pytest.raises(NotInRegistry):
        await users.remove("anna")
    with pytest.raises(NotInRegistry):
        await users.change("anna", role="it")


async def test_five_wrong_passwords_close_the_door_for_a_minute_even_to_the_right_one(users, clock, anna):
    for _ in range(5):
        assert await users.check("anna", "wrong") is None
    with pytest.raises(TooManyAttempts) as refused:
        await users.check("anna", PASSWORD)
    assert refused.value.retry_after_s == 60
    clock.now_ns += 60 * SECOND
    assert await users.check("anna", PASSWORD) is not None


def test_attempts_of_one_name_do_not_close_the_door_to_another():
    attempts = Attempts()
    for _ in range(5):
        attempts.fail("anna", START)
    attempts.check("bob", START)
    with pytest.raises(TooManyAttempts):
        attempts.check("anna", START)
    attempts.succeed("anna")
    attempts.check("anna", START)


async def test_a_session_acts_until_nobody_has_touched_it_for_its_idle_time(sessions, clock, anna):
    secret = await sessions.open(anna)
    session = sessions.verify(secret, START)
    assert sessions.is_active(session, START + 599 * SECOND)
    assert not sessions.is_active(session, START + 600 * SECOND)
    clock.now_ns = START + 500 * SECOND
    await sessions.touch(session)
    session = sessions.verify(secret, clock.now_ns)
    assert sessions.is_active(session, START + 1099 * SECOND)


async def test_a_locked_session_is_not_touched_back_to_life(sessions, clock, anna):
    secret = await sessions.open(anna)
    clock.now_ns = START + 601 * SECOND
    session = sessions.verify(secret, clock.now_ns)
    assert session is not None, "the screen on the wall goes on"
    await sessions.touch(session)
    assert not sessions.is_active(sessions.verify(secret, clock.now_ns), clock.now_ns)


async def test_however_often_it_is_touched_a_session_acts_for_a_shift_and_shows_until_its_end(
    sessions, clock, anna
):
    secret = await sessions.open(anna)
    for minutes in range(5, 75, 5):
        clock.now_ns = START + minutes * 60 * SECOND
        session = sessions.verify(secret, clock.now_ns)
        assert sessions.is_active(session, clock.now_ns) == (minutes < 60)
        await sessions.touch(session)
    assert sessions.verify(secret, START + 86_399 * SECOND) is not None
    assert sessions.verify(secret, START + 86_400 * SECOND) is None


async def test_a_session_survives_a_restart_and_a_closed_one_does_not(sessions, url, clock, anna):
    kept, closed = await sessions.open(anna), await sessions.open(anna)
    clock.now_ns = START + 120 * SECOND
    await sessions.touch(sessions.verify(kept, clock.now_ns))
    await sessions.close(sessions.verify(closed, START).sha256)
    assert sessions.verify(closed, START) is None
    again = Sessions(url, clock, sessions.times)
    await again.start()
    try:
        assert again.verify(closed, START) is None
        assert again.verify(kept, START).touched_ns == START + 120 * SECOND
    finally:
        await again.stop()


async def test_a_secret_is_in_no_file_and_a_guess_opens_nothing(sessions, anna, tmp_path):
    secret = await sessions.open(anna)
    content = written(tmp_path)
    assert secret.encode() not in content
    assert csrf_token(secret).encode() not in content
    digest = sessions.verify(secret, START).sha256
    for guess in ("", "ws_", secret[:-1], secret.upper(), digest, csrf_token(secret), "\ud800"):
        assert sessions.verify(guess, START) is None
