import importlib.util
from pathlib import Path

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
