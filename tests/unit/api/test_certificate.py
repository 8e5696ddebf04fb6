import datetime as dt
import ssl
import subprocess

import httpx
import pytest
from fastapi import FastAPI

from hub.api.certificate import CertificateUnusable, examine, server_context
from hub.api.server import ApiServer, CannotServe
from hub.doctor import probe_certificate
from hub.settings import HttpSettings
from tests.certificates import Authority


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def encrypted(key_file):
    file = key_file.with_suffix(".locked")
    command = ["openssl", "pkey", "-in", key_file, "-aes256", "-passout", "pass:secret", "-out", file]
    subprocess.run(command, check=True, capture_output=True)
    return file


async def test_what_is_wrong_with_certificate_or_key_is_told_with_what_to_change(
    authority, tmp_path, hospital
):
    cert_file, key_file = authority.sign("localhost")
    _, other_key = authority.sign("elsewhere")
    text = tmp_path / "text.pem"
    text.write_text("no certificate\n")
    locked = encrypted(key_file)
    cases = [
        (text, key_file, "text.pem holds no certificate in PEM"),
        (key_file, key_file, "localhost.key holds no certificate in PEM"),
        (cert_file, text, "text.pem holds no private key in PEM"),
        (cert_file, cert_file, "localhost.pem holds no private key in PEM"),
        (cert_file, other_key, "is not the key of"),
        (cert_file, locked, "is encrypted: give the key without a passphrase"),
        (cert_file, tmp_path, "can't be read: Is a directory"),
    ]
    for cert, key, named in cases:
        with pytest.raises(CertificateUnusable, match=named):
            examine(cert, key)
        server = ApiServer(
            FastAPI(),
            hospital.services.stream,
            hospital.live,
            host="127.0.0.1",
            port=0,
            cert_file=cert,
            key_file=key,
        )
        with pytest.raises(CannotServe, match=named):
            await server.start()


async def test_the_api_is_served_over_tls_1_2_or_newer_and_a_certificate_that_ends_soon_is_logged(
    authority, hospital, caplog
):
    cert_file, key_file = authority.sign("localhost")
    server = ApiServer(
        FastAPI(),
        hospital.services.stream,
        hospital.live,
        host="127.0.0.1",
        port=0,
        cert_file=cert_file,
        key_file=key_file,
    )
    await server.start()
    try:
        context = ssl.create_default_context(cafile=authority.file)
        async with httpx.AsyncClient(verify=context) as client:
            assert (await client.get(f"https://localhost:{server.port}/")).status_code == 404
    finally:
        await server.stop()
    assert "is over in 0 days" in caplog.text
    assert server_context(cert_file, key_file).minimum_version == ssl.TLSVersion.TLSv1_2


def test_what_a_certificate_is_good_for_and_what_to_do_about_it(authority):
    cert_file, key_file = authority.sign("hub.example")
    certificate = examine(cert_file, key_file)
    assert certificate.names == ("hub.example",)
    until = certificate.until
    assert certificate.remark(until - dt.timedelta(days=31)) is None
    assert "is over in 29 days" in certificate.remark(until - dt.timedelta(days=29, seconds=1))
    assert "browsers refuse this hub" in certificate.remark(until)


def test_doctor_looks_at_the_certificate(authority):
    assert probe_certificate(HttpSettings()) == []
    cert_file, key_file = authority.sign("hub.example")
    [found] = probe_certificate(HttpSettings(cert_file=cert_file, key_file=key_file))
    assert (found.level, "renew it" in found.found) == ("warning", True)
    _, other = authority.sign("other")
    [found] = probe_certificate(HttpSettings(cert_file=cert_file, key_file=other))
    assert (found.level, "is not the key" in found.found) == ("error", True)
    cert_file, key_file = authority.sign("hub.example", days=90)
    [found] = probe_certificate(HttpSettings(cert_file=cert_file, key_file=key_file))
    assert (found.level, found.found.startswith("good for hub.example until ")) == ("ok", True)
    key_file.chmod(0o644)
    [found] = probe_certificate(HttpSettings(cert_file=cert_file, key_file=key_file))
    assert (found.level, found.change) == ("warning", f"chmod 600 {key_file}")
