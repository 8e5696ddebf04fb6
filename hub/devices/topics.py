"""Topics that a definition takes, made up for trying it out."""

from hub.devices.definition import Definition


def example_topics(definition: Definition) -> list[str]:
    """Return a topic for each pattern of a definition, each part called what it is."""
    topics = []
    for entry in definition.topic:
        levels = [
            "" if level.endswith("...}") else level.replace("{", "").replace("}", "").replace("+", "any")
            for level in entry.pattern.split("/")
        ]
        topics.append("/".join(levels))
    return topics
