"""Load and export over more events than one page of them holds."""

import csv
import io
import sqlite3

import pytest
from conftest import NOW, SECOND

from hub.events import moment


def at(seconds: float) -> str:
    return moment(NOW + round(seconds * SECOND)).isoformat()


SPAN = {"from": at(-60), "to": at(60)}


@pytest.fixture(autouse=True)
def short_pages(monkeypatch):
    monkeypatch.setattr("hub.api.alarm_load._PAGE", 2)


@pytest.fixture
async def seven(hospital):
    for number in range(1, 6):
        await hospital.alarm(number, bed=f"icu-0{number % 2 + 1}")
    await hospital.alarm(1, "end", bed="icu-02")
    await hospital.alarm(9, ward="west", bed="west-01")


async def test_the_export_holds_every_page_once_in_sequence_under_one_header(seven, client):
    text = (await client.get("/api/v1/alarms/export.csv", params=SPAN)).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["sequence"]) for row in rows] == list(range(1, 8))
    assert text.count("sequence,") == 1


async def test_the_export_takes_the_filters_of_the_list(seven, client):
    params = SPAN | {"site": "main", "bed": "icu-02", "priority": "high"}
    text = (await client.get("/api/v1/alarms/export.csv", params=params)).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["alarm"], row["event"]) for row in rows] == [
        ("al-1", "start"),
        ("al-3", "start"),
        ("al-5", "start"),
        ("al-1", "end"),
    ]


async def test_the_load_counts_the_alarms_of_every_page(seven, client):
    load = (await client.get("/api/v1/alarms/load", params=SPAN | {"site": "main", "ward": "icu"})).json()
    assert load["figures"]["alarms"] == 5
    assert load["figures"]["ended_by_themselves"] == 1.0
    assert (load["beds"], load["figures"]["top_beds"][0]["name"]) == (2, "icu-02")


def failing_from(hospital, monkeypatch, page):
    whole, calls = hospital.log._file.between, []

    def between(*query):
        calls.append(query)
        if len(calls) >= page:
            raise sqlite3.OperationalError("disk I/O error")
        return whole(*query)

    monkeypatch.setattr(hospital.log._file, "between", between)


@pytest.mark.parametrize("path", ["/api/v1/alarms/export.csv", "/api/v1/alarms/load"])
async def test_what_cant_be_read_at_all_is_said_with_when_to_come_again(
    seven, client, hospital, monkeypatch, path
):
    failing_from(hospital, monkeypatch, page=1)
    refused = await client.get(path, params=SPAN)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")


async def test_an_export_that_fails_on_the_way_breaks_off_and_is_not_merely_short(
    seven, client, hospital, monkeypatch
):
    failing_from(hospital, monkeypatch, page=2)
    with pytest.raises(Exception, match="can't be read"):
        await client.get("/api/v1/alarms/export.csv", params=SPAN)
