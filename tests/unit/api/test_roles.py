import re

import pytest
from fastapi.routing import iter_route_contexts

from hub.api.sign_in import actions_of
from hub.tokens import ROLES
from tests.unit.api.stations import Clock, Station, openid, sign_in

EVERYBODY = frozenset(ROLES)
CARERS = frozenset({"nurse", "charge-nurse"})
NAMES = CARERS | {"it"}

# Who may call what. A route that is not here fails `test_every_route_has_roles`: decide, then add it.
ALLOWED = {
    "GET /api/v1/wards": EVERYBODY,
    "GET /api/v1/wards/{site}/{ward}": EVERYBODY,
    "GET /api/v1/beds": EVERYBODY,
    "GET /api/v1/beds/{site}/{bed}": EVERYBODY,
    "GET /api/v1/patients": NAMES,
    "GET /api/v1/patients/{patient}": NAMES,
    "GET /api/v1/devices": EVERYBODY,
    "GET /api/v1/devices/unassigned": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/readings": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/waveforms/{waveform}": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/waveforms/{waveform}/stream": EVERYBODY,
    "GET /api/v1/devices/{site}/{device}/knock": {"biomed", "it"},
    "PUT /api/v1/devices/{site}/{device}": {"biomed", "it"},
    "GET /api/v1/sites/{site}/readings": EVERYBODY,
    "GET /api/v1/rooms": EVERYBODY,
    "GET /api/v1/wards/{site}/{ward}/rooms": EVERYBODY,
    "GET /api/v1/locations": EVERYBODY,
    "GET /api/v1/locations/{site}/{beacon}": EVERYBODY,
    "GET /api/v1/locations/{site}/{beacon}/history": EVERYBODY,
    "GET /api/v1/trends": EVERYBODY,
    "GET /api/v1/alarms": EVERYBODY,
    "GET /api/v1/alarms/events": EVERYBODY,
    "GET /api/v1/alarms/load": EVERYBODY,
    "GET /api/v1/alarms/export.csv": EVERYBODY,
    "GET /api/v1/alarms/{alarm}": EVERYBODY,
    "POST /api/v1/alarms/{alarm}/acknowledge": CARERS,
    "POST /api/v1/alarms/{alarm}/pause": CARERS,
    "POST /api/v1/alarms/{alarm}/off": CARERS,
    "POST /api/v1/alarms/{alarm}/resume": CARERS,
    "POST /api/v1/alarms/{alarm}/reset": CARERS,
    "POST /api/v1/alarms/{alarm}/comment": CARERS,
    "POST /api/v1/alarms/{alarm}/handover": CARERS,
    "POST /api/v1/alarms/replay": CARERS | {"biomed"},
    "GET /api/v1/limits": EVERYBODY,
    "GET /api/v1/limits/changes": EVERYBODY,
    "POST /api/v1/limits/changes": CARERS | {"biomed"},
    "POST /api/v1/limits/changes/{change_id}/end": CARERS | {"biomed"},
    "GET /api/v1/assignments": EVERYBODY,
    "POST /api/v1/assignments": CARERS,
    "DELETE /api/v1/assignments/{assignment}": CARERS,
    "GET /api/v1/patients/{patient}/news2": EVERYBODY,
    "POST /api/v1/patients/{patient}/charted": CARERS,
    "POST /api/v1/devices/{site}/{device}/transport": CARERS,
    "DELETE /api/v1/devices/{site}/{device}/transport": CARERS,
    "GET /api/v1/news2": EVERYBODY,
    "GET /api/v1/stream": EVERYBODY,
    "GET /api/v1/rejects": {"biomed", "it"},
    "POST /api/v1/rejects/replay": {"biomed", "it"},
    "GET /api/v1/session": EVERYBODY,
    "POST /api/v1/session": EVERYBODY,
    "DELETE /api/v1/session": EVERYBODY,
    "POST /api/v1/session/touch": EVERYBODY,
    "GET /api/v1/session/methods": EVERYBODY,
    "POST /api/v1/session/password": EVERYBODY,
    "POST /api/v1/session/oidc": EVERYBODY,
    "GET /api/v1/session/oidc/callback": EVERYBODY,
}
OPEN = {"/healthz", "/readyz", "/metrics"}
FILLED = {
    "site": "main",
    "ward": "icu",
    "bed": "icu-01",
    "patient": "p",
    "beacon": "AC233F000001",
    "device": "mon-1",
    "waveform": "ecg_ii",
    "alarm": "al-1",
    "change_id": "1",
    "assignment": "1",
}


@pytest.fixture
async def station(hospital, tmp_path):
    station = Station(tmp_path, Clock(), openid())
    yield await station.open(hospital)
    await station.close()


def operations(api):
    return [(method.upper(), path) for path, ways in api.openapi()["paths"].items() for method in ways]


def test_every_route_has_roles(station):
    served = {f"{method} {path}" for method, path in operations(station.api) if path not in OPEN}
    assert served == set(ALLOWED)


def test_what_the_document_does_not_list_is_the_page_and_the_document(station):
    listed = {path for _, path in operations(station.api)}
    served = {route.path for route in iter_route_contexts(station.api.routes)}
    assert served - listed <= {"/", "/icon.svg", "/assets", "/api/v1/openapi.json"}


@pytest.mark.parametrize("role", ROLES)
async def test_every_route_refuses_the_roles_that_may_not_and_lets_the_others_pass(station, role):
    async with station.browser() as page:
        for method, path in operations(station.api):
            if path in OPEN or path.endswith("/stream"):
                continue
            await sign_in(page, role)
            response = await page.request(method, path.format(**FILLED), json={})
            refused = response.status_code == 403
            assert refused == (role not in ALLOWED[f"{method} {path}"]), (method, path, response.text)


@pytest.mark.parametrize("role", ROLES)
def test_the_page_is_told_what_its_role_may_ask_for_and_not_every_role_may(station, role):
    expected = {
        re.sub(r"\{[^}]*\}", "{}", route)
        for route, roles in ALLOWED.items()
        if role in roles and (roles != EVERYBODY or not route.startswith("GET"))
    }
    assert set(actions_of(station.api, role)) == expected
