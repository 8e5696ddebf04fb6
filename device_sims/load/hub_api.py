"""What the load test asks of a hub: its HTTP API and its stream, with the standard library alone."""

import json
import ssl
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from device_sims.errors import BrokerError, InputError

_TIMEOUT_S = 30.0
_STREAM_BYTES = 64 << 10


class Event(NamedTuple):
    """One event of the stream, its data not yet parsed: most are of no interest to a load test."""

    name: str
    data: str
    id: str


class NotFoundError(BrokerError):
    """The hub doesn't know what was asked for."""


class HubApi:
    """One keep-alive connection to a hub; not for use by several threads at once."""

    def __init__(self, url: str, token: str, ca_file: str | None = None) -> None:
        """Raises InputError where the URL or the token can't be one."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(f"--hub {url}: give http://HOST:PORT or https://HOST:PORT")
        if not token or not token.isascii() or any(character.isspace() for character in token):
            raise InputError("the hub's token is empty or no token; make one with `hub token create`")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connection: HTTPConnection | None = None

    @property
    def port(self) -> int:
        """The port that the hub listens on."""
        return self._port

    @property
    def host(self) -> str:
        """The host that the hub is on."""
        return self._host

    def get(self, path: str, **query: object) -> Any:  # noqa: ANN401  JSON
        """Get a JSON document. Raises BrokerError saying what to change."""
        target = path + ("?" + urlencode(query) if query else "")
        try:
            response = self._request(target)
        except (OSError, HTTPException):
            self.close()  # the hub closes an idle connection when it likes: once more on a new one
            try:
                response = self._request(target)
            except (OSError, HTTPException) as error:
                self.close()
                raise BrokerError(f"no hub at {self.url}: {error}; start it or change --hub") from None
        body = response.read()
        self._check(response, path)
        try:
            return json.loads(body)
        except ValueError:
            raise BrokerError(f"{self.url}{path} answers no JSON: is it the hub's port?") from None

    def readings(self, site: str, device: str, begin: str, end: str) -> Iterator[dict[str, Any]]:
        """Return what the hub stored of a device between two RFC 3339 times, page by page."""
        try:
            for page in self._pages(f"/api/v1/devices/{quote(site)}/{quote(device)}/readings", begin, end):
                yield from page
        except NotFoundError:
            return  # a device that the hub never heard of: nothing is stored of it

    def site_readings(self, site: str, begin: str, end: str) -> Iterator[list[dict[str, Any]]]:
        """Return pages of what the hub stored of all devices of a site between two RFC 3339 times."""
        return self._pages(f"/api/v1/sites/{quote(site)}/readings", begin, end)

    def _pages(self, path: str, begin: str, end: str) -> Iterator[list[dict[str, Any]]]:
        query: dict[str, object] = {"from": begin, "to": end, "limit": 10_000}
        while True:
            page = self.get(path, **query)
            yield page["readings"]
            if page.get("next") is None:
                return
            query["cursor"] = page["next"]

    def stream(self, last_event_id: str = "") -> Iterator[Event]:
        """Return the events of the hub's stream. Raises OSError or HTTPException when it breaks."""
        connection = self._open()
        headers = self._headers | {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        try:
            connection.request("GET", "/api/v1/stream", headers=headers)
            response = connection.getresponse()
            self._check(response, "/api/v1/stream")
            pending = b""
            while received := response.read1(_STREAM_BYTES):
                *blocks, pending = (pending + received).replace(b"\r\n", b"\n").split(b"\n\n")
                for block in blocks:
                    event = _event(block.decode())
                    if event.data:
                        yield event
        finally:
            connection.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, target: str) -> HTTPResponse:
        if self._connection is None:
            self._connection = self._open()
        self._connection.request("GET", target, headers=self._headers)
        return self._connection.getresponse()

    def _open(self) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_S, context=self._tls)
        return HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)

    def _check(self, response: HTTPResponse, path: str) -> None:
        if response.status in {401, 403}:
            raise BrokerError(
                f"{self.url} refuses the token ({response.status}): make one with `hub token create`"
            )
        if response.status == 404:
            raise NotFoundError(f"{self.url}{path} is unknown to the hub")
        if response.status != 200:
            raise BrokerError(f"{self.url}{path} answers {response.status} {response.reason}")


def _event(block: str) -> Event:
    """Read one event (WHATWG HTML, server-sent events: fields of one line each)."""
    fields: dict[str, list[str]] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name, []).append(value.removeprefix(" "))
    return Event(*("\n".join(fields.get(name, [])) for name in ("event", "data", "id")))
