"""A sign-in that is under way at the provider: all that is known of it stays with the browser, in a cookie.

State, nonce and PKCE verifier follow from the cookie's content and do not tell it. So an answer of the
provider is worth something in the browser that asked and in no other, and nothing is kept for who gives up.
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Final, Self

from msgspec import Struct

LASTS_S: Final = 600
"""Time to type a password and to find the phone."""
_COOKIE: Final = re.compile(r"(\d{1,12})\.([A-Za-z0-9_-]{43})\.([0-9a-f]{64})?")


class Attempt(Struct, frozen=True):
    """One person's way to the provider and back."""

    cookie: str
    begun_s: int
    before: str
    """SHA-256 of the session that the station had; empty where there was none."""

    @classmethod
    def begin(cls, now_s: float, before: str = "") -> Self:
        """Begin a new one."""
        begun_s = int(now_s)
        return cls(f"{begun_s}.{secrets.token_urlsafe(32)}.{before}", begun_s, before)

    @classmethod
    def of_cookie(cls, cookie: str, now_s: float) -> Self | None:
        """Return the one that a browser began, or None: there is none, or it took too long."""
        match = _COOKIE.fullmatch(cookie)
        if match is None or not 0 <= now_s - int(match[1]) < LASTS_S:
            return None
        return cls(cookie, int(match[1]), match[3] or "")

    @property
    def state(self) -> str:
        """Comes back from the provider: against answers that somebody else began."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """Comes back in the ID token: against tokens that were made for another sign-in."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """Of PKCE: against codes that were stolen on the way."""
        return self._derived("verifier")

    def is_answered_by(self, state: str) -> bool:
        """Tell whether an answer with this state is to this attempt."""
        return hmac.compare_digest(self.state.encode(), state.encode("utf-8", "replace"))

    def _derived(self, label: str) -> str:
        digest = hmac.new(self.cookie.encode(), label.encode(), sha256).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode()
