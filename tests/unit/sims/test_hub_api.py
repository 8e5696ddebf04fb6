import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from device_sims.errors import BrokerError, InputError
from device_sims.load.alarm_watch import AlarmWatch
from device_sims.load.hub_api import Event, HubApi, NotFoundError

ALARM = {"device": "load-00001", "condition": "limit_high", "parameter": "heart_rate", "presence": "present"}
STREAM = (
    "retry: 1000\n\n: a comment\n\n"
    f"id: h-1-1\r\nevent: alarm\r\ndata: {json.dumps({'event': 'start', 'alarm': ALARM})}\r\n\r\n"
    'event: heartbeat\ndata: {"a":\ndata: 1}\n\n'
    f"event: reset\ndata: {json.dumps({'alarms': [ALARM | {'device': 'load-00002'}]})}\n\n"
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers["Authorization"] != "Bearer right":
            self.answer(401, "{}")
        elif "/stream" in self.path:
            self.answer(200, STREAM)
        elif "cursor=7" in self.path:
            self.answer(200, '{"readings":[{"seq":3}],"next":null}')
        elif "/load-1/" in self.path:
            self.answer(200, '{"readings":[{"seq":1},{"seq":2}],"next":"7"}')
        elif "/page" in self.path:
            self.answer(200, "<html>")
        else:
            self.answer(404, "{}")

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.asked = []
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def api(server: ThreadingHTTPServer, token: str = "right") -> HubApi:
    return HubApi(f"http://127.0.0.1:{server.server_port}", token)


def test_readings_are_read_page_by_page_and_an_unknown_device_has_none(server: ThreadingHTTPServer) -> None:
    hub = api(server)
    assert [r["seq"] for r in hub.readings("main", "load-1", "a", "b")] == [1, 2, 3]
    assert list(hub.readings("main", "load-2", "a", "b")) == []
    assert "/api/v1/devices/main/load-1/readings?from=a&to=b&limit=10000" in server.asked
    hub.close()


def test_readings_of_a_site_are_read_page_by_page(server: ThreadingHTTPServer) -> None:
    hub = api(server)
    assert list(hub.site_readings("load-1", "a", "b")) == [[{"seq": 1}, {"seq": 2}], [{"seq": 3}]]
    assert server.asked[0] == "/api/v1/sites/load-1/readings?from=a&to=b&limit=10000"
    hub.close()


def test_refusals_are_told_with_what_to_change(server: ThreadingHTTPServer) -> None:
    wrong, right = api(server, "wrong"), api(server)
    with pytest.raises(BrokerError, match="hub token create"):
        wrong.get("/page")
    with pytest.raises(BrokerError, match="is it the hub's port"):
        right.get("/page")
    with pytest.raises(NotFoundError):
        right.get("/nothing")
    wrong.close()
    right.close()
    with pytest.raises(BrokerError, match="--hub"):
        HubApi("http://127.0.0.1:1", "right").get("/page")
    with pytest.raises(InputError, match="--hub"):
        HubApi("mqtt://127.0.0.1", "right")
    with pytest.raises(InputError, match="token"):
        HubApi("http://127.0.0.1", "two words")


def test_events_of_the_stream_are_taken_apart(server: ThreadingHTTPServer) -> None:
    events = list(api(server).stream())
    assert [event.name for event in events] == ["alarm", "heartbeat", "reset"]
    assert events[0].id == "h-1-1"
    assert json.loads(events[1].data) == {"a": 1}


def test_alarms_are_heard_when_told_and_when_a_reset_names_them() -> None:
    watch = AlarmWatch(HubApi("http://127.0.0.1:1", "right"), "load")

    def hear(name: str, **changes: object) -> None:
        data = {"event": "start", "alarm": ALARM | changes}
        watch._hear(Event(name, json.dumps(data | {"alarms": [ALARM | changes]}), ""))

    hear("alarm", device="load-00001")
    hear("alarm", device="mon-1")
    hear("alarm", device="load-00003", parameter="spo2")
    hear("technical", device="load-00004")
    hear("reset", device="load-00005")
    hear("reset", device="load-00006", presence="absent")
    assert set(watch.told_ms()) == {"load-00001", "load-00005"}
