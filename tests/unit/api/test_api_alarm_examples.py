"""The OpenAPI document's examples of alarms, limits, assignments and scores."""

from jsonschema import Draft202012Validator


def operations(api):
    for path, methods in api.openapi()["paths"].items():
        for method, operation in methods.items():
            if "alarms" in operation.get("tags", ()):
                yield f"{method.upper()} {path.removeprefix('/api/v1')}", operation


def resolved(document, schema):
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema | {"components": document["components"]}


def check(document, schema, example):
    whole = resolved(document, schema)
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(example)


def test_every_answer_has_an_example_that_fits_its_shape(api):
    document, seen = api.openapi(), 0
    for name, operation in operations(api):
        answer = operation["responses"].get("200")
        if answer is None:
            assert "204" in operation["responses"], name
            continue
        for media, content in answer["content"].items():
            assert "example" in content, f"{name} has no example"
            if media == "application/json":
                check(document, content["schema"], content["example"])
                members = resolved(document, content["schema"])["properties"]
                assert content["example"].keys() == members.keys(), name
            seen += 1
    assert seen >= 18


def test_every_body_has_an_example_that_fits_its_shape(api):
    document, seen = api.openapi(), 0
    for name, operation in operations(api):
        if "requestBody" not in operation:
            continue
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        examples = resolved(document, schema).get("examples", ())
        assert examples, f"{name} has no example of its body"
        for example in examples:
            check(document, schema, example)
        seen += 1
    assert seen >= 10


async def test_the_export_begins_as_its_example_does(api, client):
    document = api.openapi()
    content = document["paths"]["/api/v1/alarms/export.csv"]["get"]["responses"]["200"]["content"]
    text = (await client.get("/api/v1/alarms/export.csv")).text
    head, line = content["text/csv"]["example"].split("\r\n")[:2]
    assert text == f"{head}\r\n"
    assert len(line.split(",")) == len(head.split(","))
