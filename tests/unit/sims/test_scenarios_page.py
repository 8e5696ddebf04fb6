import importlib.util
from pathlib import Path
from xml.etree import ElementTree as ET

from device_sims.scenario import names

GENERATOR = Path(__file__).parents[3] / "docs" / "generate" / "scenarios.py"


def test_the_page_of_the_scenarios_and_its_plots_are_the_generated_ones() -> None:
    spec = importlib.util.spec_from_file_location("docs_generate_scenarios", GENERATOR)
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    files = generator.files()
    assert len(files) == len(names()) + 1
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, "run python docs/generate/scenarios.py"
        if path.suffix == ".svg":
            ET.fromstring(text)
