"""Topics that a definition takes, made up for trying it out."""

from hub.devices.definition import Definition


def example_topics(definition: Definition) -> list[str]:
    """Return a topic for each pattern of a definition."""
    return [example_topic(entry.pattern) for entry in definition.topic]


def example_topic(pattern: str) -> str:
    """Return a topic that a pattern takes, each part called what it is."""
    levels = [
        "" if level.endswith("...}") else level.replace("{", "").replace("}", "").replace("+", "any")
        for level in pattern.split("/")
    ]
    return "/".join(levels)
