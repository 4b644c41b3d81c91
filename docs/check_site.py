"""Check that a built site loads nothing from elsewhere: its readers may have no network."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADING = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "script": "src",
    "source": "src",
    "video": "src",
}
_IN_STYLES = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")


class _Assets(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element loads."""
        address = dict(attrs).get(_LOADING.get(tag, ""))
        if address:
            self.found.append(address)


def loaded_by(file: Path) -> list[str]:
    """Return the addresses that a page or a style sheet loads."""
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".css":
        return [first or second for first, second in _IN_STYLES.findall(text)]
    assets = _Assets()
    assets.feed(text)
    return assets.found


def problems_of(site: Path) -> list[str]:
    """Return what the pages of a site load that is not in it."""
    problems = []
    for file in sorted(path for path in site.rglob("*") if path.suffix in {".html", ".css"}):
        for address in loaded_by(file):
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                problems.append(f"{file.relative_to(site)} loads {address} from another host")
            elif parts.path and not (file.parent / unquote(parts.path)).exists():
                problems.append(f"{file.relative_to(site)} loads {address}, which is missing")
    return problems


if __name__ == "__main__":
    found = problems_of(Path(sys.argv[1]))
    sys.exit("\n".join(found) if found else 0)
