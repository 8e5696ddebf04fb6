"""What the documentation says exists: links and images, command lines, settings."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import unquote

import pytest
from pydantic import BaseModel
from typer.main import get_command

from device_sims.cli import app as sims
from hub.cli import app as hub
from hub.settings import Settings

ROOT = Path(__file__).parents[2]
_NOT_OURS = {".venv", "node_modules", "build", "var", "dist", "wardhub.egg-info"}
PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not any(part in _NOT_OURS or part.startswith(".") for part in page.relative_to(ROOT).parts)
)
PROGRAMS = {"hub": get_command(hub), "ward-sims": get_command(sims)}
OTHER_VARIABLES = {"HUB_BIND", "HUB_FAILPOINT"}
"""Of compose.yaml and of tests, no settings."""

_FENCE = re.compile(r"^ {0,3}```(\w*)[^\n]*\n(.*?)^ {0,3}```", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\]|!\[[^\]]*\]\([^)]*\))*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)"
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# Links.


def links(text: str) -> list[str]:
    prose = _CODE.sub("", _FENCE.sub("", _COMMENT.sub("", text)))
    return _LINK.findall(prose) + re.findall(r'(?:src|href)="([^"]+)"', prose)


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them."""
    found: dict[str, int] = {}
    made = set()
    for title in re.findall(r"^#{1,6} +(.+?)\s*$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        made.add(f"{slug}-{count}" if count else slug)
    return made


@every_page
def test_every_link_and_image_leads_to_something(page: Path):
    dead = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / unquote(path)).resolve() if path else page
        if not target.is_relative_to(ROOT):
            dead.append(f"{link} leads out of the repository")
        elif not target.exists():
            dead.append(link)
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
            dead.append(f"{link}: no such heading")
    assert not dead


def test_links_in_images_in_links_and_beside_code_are_found():
    text = "[![shot](a.webp)](b.md) `[x](no.md)` [`f`](c.py)\n```\n[y](no.md)\n```\n![z](<d.png>)"
    assert set(links(text)) >= {"b.md", "c.py", "d.png"}
    assert "no.md" not in links(text)


def test_headings_have_the_anchors_that_github_gives_them():
    assert anchors("# A `b` & c\n## A b  \n## [X](y.md)\n## X\n") == {"a-b--c", "a-b", "x", "x-1"}


# Command lines.


def code_of(text: str) -> Iterator[str]:
    """Return lines of code, and code within lines."""
    for language, block in _FENCE.findall(text):
        if language in ("", "sh", "bash", "ini", "console"):
            yield from block.replace("\\\n", " ").splitlines()
    prose = _FENCE.sub("", _COMMENT.sub("", text))
    for line in prose.splitlines():
        if line.startswith("    "):
            # Beside the command stands what it does.
            yield re.split(r" {3,}", line.strip())[0]
    for code in _CODE.findall(prose):
        yield re.sub(r"(?<=\w)\|(?=\w)", "/", code)  # `list|check`: one or the other


def commands(text: str) -> Iterator[list[str]]:
    """Return the command lines of our programs, as words."""
    for line in code_of(text):
        for words in simple_commands(line.strip().removeprefix("$ ").removeprefix("ExecStart=")):
            for at, word in enumerate(words):
                if word.rpartition("/")[2] in PROGRAMS and is_program(words, at):
                    yield [word.rpartition("/")[2], *words[at + 1 :]]
                    break


def simple_commands(line: str) -> list[list[str]]:
    """Split a line of a shell at `|`, `;`, `&` and redirections."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    try:
        for word in lexer:
            if set(word) <= set("|;&<>()"):
                found.append([])
            else:
                found[-1].append(word)
    except ValueError:  # a quote without its partner: prose or a payload over several lines
        return []
    return found


def is_program(words: list[str], at: int) -> bool:
    """Tell whether the word is what is run: first, behind variables, or behind sudo or compose."""
    if words[0] in ("sudo", "docker"):
        return at + 1 < len(words) and words[at + 1] not in PROGRAMS and words[at - 1] not in ("run", "up")
    return all(_ASSIGNMENT.match(word) for word in words[:at])


def fault(words: list[str]) -> str | None:
    """Return what of a command line doesn't exist."""
    command: Any = PROGRAMS[words[0]]
    path, options = words[0], known_options(command)
    expects_value = False
    for raw in words[1:]:
        word = raw.strip("[],.")
        if expects_value:
            expects_value = False
        elif word in ("", "…", "..."):
            return None
        elif word.startswith("-") and word != "-":
            name, _, value = word.partition("=")
            if name not in options:
                return f"{path}: no option {name}"
            expects_value = not options[name] and not value
        elif hasattr(command, "commands"):
            found = [command.commands.get(one) for one in word.split("/")]
            if None in found:
                return f"{path}: no command {word}"
            command, path = found[0], f"{path} {word}"
            options = known_options(command)
    return None


def known_options(command: Any) -> dict[str, bool]:
    """Return the names of the options, and of each whether it is a flag."""
    known = {"--help": True, "-h": True}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            known |= dict.fromkeys((*parameter.opts, *parameter.secondary_opts), parameter.is_flag)
    return known


@every_page
def test_every_command_line_of_ours_exists(page: Path):
    faults = [
        f"{shlex.join(words)}: {wrong}"
        for words in commands(page.read_text(encoding="utf-8"))
        if (wrong := fault(words))
    ]
    assert not faults


def test_command_lines_are_found_wherever_they_stand():
    text = (
        "Try `hub devices list|check`.\n\n    hub devices test x      compares, it's said\n\n```sh\n"
        "HUB_ID=a hub run --config f\ncurl x | hub devices decode --device d -\n"
        "docker compose exec hub hub user list > f\ndocker compose restart hub\n```\n"
        "```ini\nExecStart=/opt/x/bin/hub run\n```\n"
    )
    assert sorted(commands(text)) == [
        ["hub", "devices", "decode", "--device", "d", "-"],
        ["hub", "devices", "list/check"],
        ["hub", "devices", "test", "x"],
        ["hub", "run"],
        ["hub", "run", "--config", "f"],
        ["hub", "user", "list"],
    ]


def test_what_a_command_line_names_and_doesn_t_exist_is_told():
    assert fault(["hub", "fly"]) == "hub: no command fly"
    assert fault(["hub", "run", "--fast"]) == "hub run: no option --fast"
    assert fault(["hub", "devices", "decode", "--device", "--fast", "{}"]) is None
    assert fault(["ward-sims", "ward", "--beds", "3", "--bed", "x"]) == "ward-sims ward: no option --bed"


# Settings.


def models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a setting may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return models(get_args(annotation)[0])
    return [model for argument in get_args(annotation) for model in models(argument)]


TABLES = {name: models(field.annotation) for name, field in Settings.model_fields.items()}
_DOTTED = re.compile(rf"(?:{'|'.join(name for name, held in TABLES.items() if held)})(?:\.[a-z_]+)+")
FILES = (".py", ".sqlite", ".toml", ".md")
"""`journal.py` is a module, not a setting."""
_VARIABLE = re.compile(r"\bHUB_[A-Z][A-Z_]*[A-Z]\b")


def exists(path: list[str], held: list[type[BaseModel]]) -> bool:
    """Tell whether there is a setting at this path below one of the models."""
    if not path:
        return True
    return any(
        path[0] in model.model_fields and exists(path[1:], models(model.model_fields[path[0]].annotation))
        for model in held
    )


def paths(table: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Return the path of every key of a settings file."""
    for key, value in table.items():
        yield [*above, key]
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                yield from paths(inner, (*above, key))


def settings_named(text: str) -> Iterator[list[str]]:
    """Return the settings that a page names: in code, as variables, and in settings files."""
    for code in _CODE.findall(_FENCE.sub("", text)):
        name = code.partition(" ")[0].partition("=")[0]
        if _DOTTED.fullmatch(name) and not name.endswith(FILES):
            yield name.split(".")
    for variable in _VARIABLE.findall(text):
        if variable not in OTHER_VARIABLES:
            yield variable.removeprefix("HUB_").lower().split("__")
    for language, block in _FENCE.findall(text):
        if language == "toml" and is_settings(table := tomllib.loads(block)):
            yield from paths(table)


def is_settings(table: dict[str, Any]) -> bool:
    """Tell a settings file from a ward file, a definition or a part of one."""
    of_others = {"ward", "device", "patient", "title", "topic", "read", "each", "when", "path"}
    return not (of_others & table.keys()) and bool((TABLES.keys() - {"site", "id"}) & table.keys())


@every_page
def test_every_setting_that_is_named_exists(page: Path):
    unknown = [
        ".".join(path)
        for path in settings_named(page.read_text(encoding="utf-8"))
        if not exists(path, [Settings])
    ]
    assert not unknown


def test_settings_are_found_wherever_they_stand():
    text = (
        "`journal.quota_mb` and `http.prot`, `journal.py`, `HUB_HTTP__PRT=1`\n```toml\nid = 'a'\n"
        "[[stores]]\nkind = 'duckdb'\nmemory = 1\n[embedded_broker.tls]\nca_file = ''\n```\n"
        "```toml\n[site]\nid = 'a'\n```\n"
    )
    named = {".".join(path): exists(path, [Settings]) for path in settings_named(text)}
    assert named == {
        "journal.quota_mb": True,
        "http.prot": False,
        "http.prt": False,
        "id": True,
        "stores": True,
        "stores.kind": True,
        "stores.memory": False,
        "embedded_broker": True,
        "embedded_broker.tls": True,
        "embedded_broker.tls.ca_file": True,
    }


def test_there_are_pages_to_look_at():
    assert {"README.md", "docs/tutorial.md", "docs/how-to/run.md"} <= {name_of(page) for page in PAGES}
