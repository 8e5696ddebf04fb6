import ast
from pathlib import Path

SIMS = Path(__file__).parents[3] / "device_sims"


def test_the_simulators_share_nothing_with_the_hub_but_the_packets() -> None:
    shared = set()
    for file in SIMS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                shared.add(node.module)
            elif isinstance(node, ast.Import):
                shared |= {alias.name for alias in node.names}
    assert {name for name in shared if name and name.partition(".")[0] == "hub"} == {"hub.mqtt.packets"}
