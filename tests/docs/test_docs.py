"""What the documentation says can be followed, loaded, compiled and is up to date."""

import importlib.util
import re
from pathlib import Path

import pytest

from onemcp.config import parse
from onemcp.protocol.errors import OWN_ERRORS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

LINK = re.compile(r"\[[^\]\n]*(?:\n[^\]\n]*)?\]\(([^()\s]+)\)")
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
INLINE_CODE = re.compile(r"`[^`\n]+`")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

SECTION = DOCS / "reference" / "commands"
"""What has an index of its own, `commands.md` beside it."""


def shown(path):
    return str(path.relative_to(ROOT))


def blocks(kind):
    """Return all fenced blocks of a kind, each with where it is."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            if match[2] == kind:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[3], id=f"{shown(page)}:{line}"))
    return found


def configurations():
    """Return the blocks of JSON that are whole configurations."""
    return [
        block
        for block in blocks("json") + blocks("jsonc")
        if re.search(r'^  "mcpServers"', block.values[0], re.MULTILINE)
    ]


def prose(path):
    """Return a page without its code."""
    return INLINE_CODE.sub("", FENCE.sub("", path.read_text(encoding="utf-8")))


def anchors(path):
    """Return what the headings of a page can be linked to by, as forges make it."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {title.replace(" ", "-") for title in plain}


def broken(link, page):
    """Say what is wrong with a link, or nothing."""
    if "://" in link or link.startswith("mailto:"):
        return None
    target, _, anchor = link.partition("#")
    path = (page.parent / target).resolve() if target else page
    if not path.exists():
        return f"{link}: there is no such file"
    if anchor and anchor not in anchors(path):
        return f"{link}: there is no such heading"
    return None


def generator():
    specification = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_there_is_something_to_check():
    assert len(PAGES) > 10
    assert len(configurations()) > 5
    assert blocks("python")


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page):
    assert not list(filter(None, (broken(link, page) for link in LINK.findall(prose(page)))))


@pytest.mark.requirement(
    "basic/authorization/index#security-considerations-1",
    "basic/authorization/security-considerations#introduction-1",
    "index#implementation-guidelines-1",
)
def test_what_security_rests_on_is_shown_by_tests_that_exist():
    page = DOCS / "security.md"
    shown_by = re.findall(r"\[([^\]]+)\]\((\.\./tests/[^)]+)\)", page.read_text(encoding="utf-8"))
    assert len(shown_by) > 30
    for name, path in shown_by:
        source = (DOCS / path).read_text(encoding="utf-8")
        assert f"def test_{name.replace(' ', '_')}(" in source, f"{path} has no such test: {name}"


def test_a_broken_link_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A title\n[x](no.md) [y](#a-title) [z](#no)\n", encoding="utf-8")
    found = [broken(link, page) for link in LINK.findall(prose(page))]
    assert found == ["no.md: there is no such file", None, "#no: there is no such heading"]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=shown)
def test_every_page_is_in_the_index(page):
    index = SECTION.with_suffix(".md") if page.parent == SECTION else DOCS / "README.md"
    # A link's text may be code.
    links = {(index.parent / link).resolve() for link in LINK.findall(index.read_text("utf-8"))}
    assert page == index or page.resolve() in links


@pytest.mark.parametrize("source", configurations())
def test_configurations_load(source):
    environ = dict.fromkeys(VARIABLE.findall(source), "made-up")
    assert parse(source, source="the example", environ=environ).backends


@pytest.mark.parametrize("source", blocks("python"))
def test_python_compiles(source):
    compile(source, "the example", "exec")


def test_generated_pages_are_current():
    pages = generator().PAGES
    written = {name: (DOCS / "reference" / name).read_text("utf-8") for name in pages}
    stale = [name for name, render in pages.items() if written[name] != render()]
    assert not stale, "run: python docs/generate.py"


def test_every_command_has_a_page_and_every_page_a_command():
    assert {f"commands/{page.name}" for page in SECTION.iterdir()} == {
        name for name in generator().PAGES if name.startswith("commands/")
    }
    assert set(generator().GUIDES) == {page.stem for page in SECTION.iterdir()}


def test_every_own_error_is_documented():
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    assert all(f"`{error.code}`" in text for error in OWN_ERRORS)
