"""How `make docs` builds the site.

The source folder is the repository's root, so that a link between two pages, or to any other file, is the same for the
site and for a code host.
"""

import re
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
HOME = "docs/index"
_VERSION = re.compile(r'^__version__ = "(.+)"', re.MULTILINE)
_SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
_ENTRY = re.compile(r"^- \[(.+?)\]\(([^)#]+)\.md\)", re.MULTILINE)

project = "Rheostat"
author = "The Rheostat authors"
version = release = _VERSION.findall((ROOT / "app" / "rheostat" / "__init__.py").read_text())[0]
extensions = ["myst_parser"]
root_doc = HOME
include_patterns = ["*.md", "docs/**.md", "deploy/**.md", "examples/**.md"]
exclude_patterns = ["build", "dist", ".*", "**/node_modules"]
nitpicky = True

myst_heading_anchors = 4
html_theme = "furo"
html_title = f"Rheostat {version}"
html_show_sourcelink = False
html_show_copyright = False
html_copy_source = False
html_extra_path = ["site"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
highlight_language = "none"
# A host of an example resolves nowhere, and loopback answers only while a server runs.
linkcheck_ignore = [r"https?://127\.0\.0\.1.*", r"https?://[^/]*example\.(org|com)"]


def _add_navigation(_: Sphinx, document: str, source: list[str]) -> None:
    """Make the home page's sections the site's navigation: written once, as plain lists."""
    if document == HOME:
        for title, entries in _SECTION.findall(source[0]):
            pages = "\n".join(f"{name} <{page}>" for name, page in _ENTRY.findall(entries))
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"


def setup(app: Sphinx) -> None:
    """Connect what this site adds to Sphinx."""
    app.add_lexer("csv", TextLexer)  # code hosts know it, Pygments does not
    app.connect("source-read", _add_navigation)
