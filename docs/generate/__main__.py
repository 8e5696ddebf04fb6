"""Writes the generated reference pages; `--check` fails where one is not current.

Each module beside this one has `pages()`: the text of each page by its path in the repository.
"""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> int:
    """Write the pages, or tell which are not what would be written."""
    check = "--check" in sys.argv[1:]
    stale = []
    for source in sorted(HERE.glob("*.py")):
        if source.name == "__main__.py":
            continue
        spec = importlib.util.spec_from_file_location(f"docs_generate_{source.stem}", source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for path, text in module.pages().items():
            page = ROOT / path
            if page.exists() and page.read_text(encoding="utf-8") == text:
                continue
            stale.append(path)
            if not check:
                page.parent.mkdir(parents=True, exist_ok=True)
                page.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{path}: {'not current; run make docs' if check else 'written'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
