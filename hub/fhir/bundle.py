"""Bundles put together from resources that are JSON already."""

from collections.abc import Iterable, Sequence

from msgspec import Struct, json


class Entry(Struct, frozen=True):
    """One resource of a searchset."""

    kind: str
    id: str
    """Of the letters that FHIR allows in ids, which mean nothing in JSON."""
    resource: bytes
    mode: str = "match"
    """match, include or outcome."""


def searchset(
    base: str, entries: Iterable[Entry], links: Sequence[tuple[str, str]], total: int | None = None
) -> bytes:
    """Return a searchset as JSON. `base` is the server's address, links are relation and URL."""
    head = {
        "resourceType": "Bundle",
        "type": "searchset",
        **({} if total is None else {"total": total}),
        "link": [{"relation": relation, "url": url} for relation, url in links],
    }
    start = b'{"fullUrl":%b/' % json.encode(base)[:-1]
    parts = [
        b'%b%b/%b","resource":%b,"search":{"mode":"%b"}}'
        % (start, entry.kind.encode(), entry.id.encode(), entry.resource, entry.mode.encode())
        for entry in entries
    ]
    text = json.encode(head)
    return text if not parts else b'%b,"entry":[%b]}' % (text[:-1], b",".join(parts))


def responses(kind: str, entries: Sequence[tuple[int, str | None, str | None, bytes | None]]) -> bytes:
    """Return the answer to a transaction or batch; each entry is status, location, ETag and an outcome."""
    parts = []
    for status, location, etag, resource in entries:
        response = {"status": str(status)}
        if location is not None:
            response["location"] = location
        if etag is not None:
            response["etag"] = etag
        text = b'{"response":%b' % json.encode(response)
        if resource is not None:
            text = b'{"resource":%b,"response":%b' % (resource, json.encode(response))
        parts.append(text + b"}")
    head = json.encode({"resourceType": "Bundle", "type": f"{kind}-response"})
    return head if not parts else b'%b,"entry":[%b]}' % (head[:-1], b",".join(parts))
