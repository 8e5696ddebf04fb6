import importlib.util
import re
import tomllib
from pathlib import Path

from hub import vocabulary
from hub.vocabulary import PARAMETERS

GENERATOR = Path(__file__).parents[2] / "docs" / "generate" / "vocabulary.py"


def test_the_page_of_the_vocabulary_is_the_generated_one():
    spec = importlib.util.spec_from_file_location("docs_generate_vocabulary", GENERATOR)
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    text = generator.page()
    assert generator.PAGE.read_text(encoding="utf-8") == text, "run python docs/generate/vocabulary.py"
    for name in PARAMETERS:
        assert f"| `{name}` |" in text


def test_the_page_says_which_codes_an_observation_has():
    text = (GENERATOR.parents[1] / "reference" / "vocabulary.md").read_text(encoding="utf-8")
    assert "| `pulse_rate` | LOINC 8867-4, MDC 149514 MDC_PULS_RATE |" in text, "no method is claimed"
    assert "| `temperature` | LOINC 8310-5, MDC 150364 MDC_TEMP_BODY |" in text
    assert "| `battery` | the hub's own battery |" in text


def test_the_example_of_a_missing_parameter_is_an_entry_that_the_vocabulary_takes():
    text = (GENERATOR.parents[1] / "reference" / "vocabulary.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.+?)```", text, re.DOTALL)
    file = Path(vocabulary.__file__).with_name("vocabulary.toml")
    loaded = vocabulary.load(tomllib.loads(file.read_text(encoding="utf-8") + "\n" + example))
    (added,) = loaded.parameters.keys() - PARAMETERS.keys()
    assert added in example
