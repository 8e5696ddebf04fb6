async def test_events_of_one_bed_are_told_and_the_page_goes_on_behind_the_others(client, hospital):
    for number, bed in enumerate(("icu-01", "icu-02", "icu-01", "icu-02")):
        await hospital.alarm(number, bed=bed)
    params = {"site": "main", "bed": "icu-01", "limit": 3}
    first = (await client.get("/api/v1/alarms/events", params=params)).json()
    assert [event["sequence"] for event in first["events"]] == [1, 3]
    assert first["next"] == 3
    rest = (await client.get("/api/v1/alarms/events", params={**params, "after": first["next"]})).json()
    assert (rest["events"], rest["next"]) == ([], 4)


async def test_events_of_another_ward_are_left_out(client, hospital):
    await hospital.alarm(1)
    await hospital.alarm(2, ward="west", bed="west-01")
    told = (await client.get("/api/v1/alarms/events", params={"site": "main", "ward": "west"})).json()
    assert [event["alarm"]["bed"] for event in told["events"]] == ["west-01"]
