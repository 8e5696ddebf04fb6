import asyncio
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from hub.tokens import ROLES, Tokens
from hub.ward.model import NotInRegistry, RegistryRefused
from hub.ward.registry import Registry

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND


class Clock:
    now_ns = START

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
async def tokens(url: str, clock: Clock) -> AsyncIterator[Tokens]:
    tokens = Tokens(url, clock)
    await tokens.start()
    yield tokens
    await tokens.stop()


def holds(folder: Path, text: str) -> bool:
    return any(text.encode() in path.read_bytes() for path in folder.iterdir())


async def test_a_token_opens_with_its_role_until_it_expires(tokens: Tokens) -> None:
    secret = await tokens.create("station 1", "nurse", START + 100)
    token = tokens.verify(secret, START)
    assert token is not None
    assert (token.name, token.role, token.expires_ns) == ("station 1", "nurse", START + 100)
    assert tokens.verify(secret, START + 99) is not None
    assert tokens.verify(secret, START + 100) is None


async def test_what_is_no_token_opens_nothing(tokens: Tokens) -> None:
    secret = await tokens.create("station 1", "nurse")
    digest = sha256(secret.encode()).hexdigest()
    for guess in ("", "wh_", secret[:-1], secret + "A", secret.upper(), digest, "\ud800"):
        assert tokens.verify(guess, START) is None


async def test_a_secret_is_long_random_and_in_no_byte_of_the_files(tokens: Tokens, tmp_path: Path) -> None:
    secrets = {await tokens.create(f"token {n}", "it") for n in range(20)}
    assert len(secrets) == 20
    for secret in secrets:
        assert secret.startswith("wh_")
        assert len(secret) == 3 + 43
        assert not holds(tmp_path, secret[3:])


async def test_a_revoked_token_opens_nothing_and_its_name_is_free_again(tokens: Tokens, clock: Clock) -> None:
    secret = await tokens.create("station 1", "nurse")
    with pytest.raises(RegistryRefused, match="already: revoke it"):
        await tokens.create("station 1", "it")
    clock.now_ns += SECOND
    await tokens.revoke("station 1")
    assert tokens.verify(secret, clock.now_ns) is None
    with pytest.raises(NotInRegistry, match="no token 'station 1'"):
        await tokens.revoke("station 1")
    again = await tokens.create("station 1", "viewer")
    assert tokens.verify(again, clock.now_ns) is not None
    assert [(token.role, token.revoked_ns) for token in await tokens.entries()] == [
        ("nurse", START + SECOND),
        ("viewer", None),
    ]


async def test_a_token_made_or_revoked_by_another_process_is_followed(
    tokens: Tokens, url: str, clock: Clock
) -> None:
    command = Tokens(url, clock)
    await command.start()
    secret = await command.create("script", "biomed")
    assert tokens.verify(secret, START) is None
    await tokens.follow()
    assert tokens.verify(secret, START) is not None
    await command.revoke("script")
    await tokens.follow()
    assert tokens.verify(secret, START) is None
    await command.stop()


async def test_the_last_use_is_recorded(tokens: Tokens, url: str, clock: Clock) -> None:
    secret = await tokens.create("station 1", "nurse")
    await tokens.follow()
    tokens.verify(secret, START + 5)
    tokens.verify("wh_nothing", START + 6)
    clock.now_ns += 61 * SECOND
    await tokens.follow()
    other = Tokens(url, clock)
    await other.start()
    [token] = await other.entries()
    assert token.last_used_ns == START + 5
    tokens.verify(secret, START + 7)
    await tokens.stop()
    [token] = await other.entries()
    assert token.last_used_ns == START + 7
    await other.stop()


@pytest.mark.parametrize(
    ("name", "role", "expires_ns", "message"),
    [
        ("x", "doctor", None, f"expected one of {', '.join(ROLES)}"),
        (" ", "it", None, "name: expected 1 to 128"),
        ("x", "it", START, "expected a time to come"),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(
    tokens: Tokens, name: str, role: str, expires_ns: int | None, message: str
) -> None:
    with pytest.raises(RegistryRefused, match=message):
        await tokens.create(name, role, expires_ns)
    assert await tokens.entries() == []


async def test_every_role_can_be_given(tokens: Tokens) -> None:
    for role in ROLES:
        secret = await tokens.create(role, role)
        token = tokens.verify(secret, START)
        assert token is not None
        assert token.role == role


async def test_tokens_and_registry_share_a_database(tokens: Tokens, url: str) -> None:
    registry = Registry(url)
    await registry.start()
    version = registry.version
    await tokens.create("x", "it")
    await registry.follow()
    assert registry.version == version
    await registry.stop()


async def test_another_process_that_leaves_takes_no_writes_away(tmp_path: Path) -> None:
    # The hub opens its database several times over; each opening must leave the others' locks alone.
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    first, second = Tokens(url), Tokens(url)
    await first.start()
    await second.start()
    code = (
        "import asyncio, sys; from hub.tokens import Tokens\n"
        "async def main():\n"
        "    tokens = Tokens(sys.argv[1]); await tokens.start()\n"
        "    await tokens.create(sys.argv[2], 'viewer'); await tokens.stop()\n"
        "asyncio.run(main())"
    )
    try:
        for name in ("one", "two"):
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, url, name)
            assert await process.wait() == 0
            for tokens in (first, second):
                await tokens.follow()
        await first.create("three", "viewer")
        await second.follow()
        for tokens in (first, second):
            assert {entry.name for entry in await tokens.entries()} == {"one", "two", "three"}
    finally:
        await first.stop()
        await second.stop()
