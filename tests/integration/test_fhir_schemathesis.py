"""Schemathesis over the OpenAPI documents of /fhir and /api/v1: no 5xx, no answer that isn't documented.

Short here; `HUB_SCHEMATHESIS_EXAMPLES=500` looks longer.
"""

import asyncio
import os
import threading
import time

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hub.app import Hub
from hub.datadir import DataDir
from hub.model import Batch
from hub.settings import load_settings
from hub.ward.demo import demo_ward
from tests.fhir_hub import SECOND, vitals
from tests.servers import free_port

pytestmark = pytest.mark.integration

EXAMPLES = int(os.environ.get("HUB_SCHEMATHESIS_EXAMPLES", "6"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Served:
    """A whole hub in a thread of its own, as Schemathesis blocks."""

    def __init__(self, folder):
        self.settings = load_settings(
            overrides={
                "data_dir": folder,
                "site": "main",
                "http": {"port": free_port()},
                "embedded_broker": {"port": 0},
            },
            default_file=False,
        )
        self.url = f"http://127.0.0.1:{self.settings.http.port}"
        self.failed = None
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            self.failed = error
            self._ready.set()

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        with DataDir(self.settings.data_dir) as data:
            hub = Hub(self.settings, data)
            async with hub.started(demo_ward(4)):
                running = asyncio.create_task(hub.run())
                self.secret = await hub.tokens.create("tester", "it")
                at_ns = time.time_ns()
                readings = [vitals(n, at_ns - n * SECOND, device="mon-icu-01") for n in range(50)]
                await hub.journal.append(Batch(1, at_ns, readings, [], [], [], [], []))
                while (await hub.drains[0].look()).items:
                    await asyncio.sleep(0.05)
                self._ready.set()
                await self._over.wait()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(60)
        if self.failed is not None:
            raise self.failed
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.mark.timeout(600)
@pytest.mark.parametrize("document", ["/fhir/openapi.json", "/api/v1/openapi.json"])
def test_no_request_makes_the_hub_fail_or_answer_what_is_not_documented(served, document):
    headers = {"Authorization": f"Bearer {served.secret}"}
    schema = schemathesis.openapi.from_url(served.url + document)
    base = served.url + ("/fhir" if document.startswith("/fhir") else "")
    failures, walked = [], 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith("/stream") or "waveforms/live" in operation.path:
            continue  # they never end
        walked += 1

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def attempt(case):
            response = case.call(base_url=base, headers=headers, timeout=20)
            case.validate_response(response, checks=CHECKS)

        try:
            given(case=operation.as_strategy())(attempt)()
        except Exception as error:  # noqa: BLE001 - every operation is tried, and all faults are told
            failures.append(f"{operation.label}: {error}"[:600])
    assert walked > 15
    assert not failures, "\n\n".join(failures)
