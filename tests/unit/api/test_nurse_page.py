"""The nurse station's files, as browsers get them."""

import gzip

import httpx
import pytest
from fastapi import FastAPI

from hub.api import page

SCRIPT = b"console.log('a station');" * 20


@pytest.fixture
def built(tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Nurse station</title>")
    (tmp_path / "icon.svg").write_text("<svg/>")
    (tmp_path / "assets" / "index-1.js").write_bytes(SCRIPT)
    (tmp_path / "assets" / "index-1.js.gz").write_bytes(gzip.compress(SCRIPT))
    (tmp_path / "assets" / "letters-1.woff2").write_bytes(b"wOF2")
    return tmp_path


@pytest.fixture
async def browser(built):
    api = FastAPI()
    page.install(api, built)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://hub") as client:
        yield client


async def test_scripts_are_sent_compressed_and_kept(browser):
    async with browser.stream("GET", "/assets/index-1.js", headers={"Accept-Encoding": "br, gzip"}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert gzip.decompress(raw) == SCRIPT
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]


async def test_who_takes_no_gzip_gets_the_plain_file(browser):
    answer = await browser.get("/assets/index-1.js", headers={"Accept-Encoding": "identity"})
    assert answer.content == SCRIPT
    assert "content-encoding" not in answer.headers


async def test_what_is_compressed_in_itself_is_sent_as_it_is(browser):
    answer = await browser.get("/assets/letters-1.woff2", headers={"Accept-Encoding": "gzip"})
    assert answer.content == b"wOF2"
    assert "content-encoding" not in answer.headers


async def test_the_page_itself_is_asked_for_anew_each_time(browser):
    answer = await browser.get("/")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
