"""The Markdown files of the repository, their headings and their links."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = {"build", "dist", "node_modules"}
_FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]+`")
_LINK = re.compile(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(\S+)|<(https?:[^>\s]+)>", re.MULTILINE)
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_HTML = re.compile(r"<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)=\"([^\"]+)\"")
_ANCHOR = re.compile(r"<\w+\b[^>]*?\b(?:id|name)=\"([^\"]+)\"")


def markdown_files(root: Path = ROOT) -> list[Path]:
    """Return the repository's Markdown files, without what is built or installed."""
    found = []
    for entry in sorted(root.iterdir()):
        if entry.name.startswith(".") or entry.name in _LEFT_OUT:
            continue
        if entry.is_dir():
            found += markdown_files(entry)
        elif entry.suffix == ".md":
            found.append(entry)
    return found


def without_blocks(text: str) -> str:
    """Return a page without its blocks of code."""
    return _FENCE.sub("", text)


def links(text: str) -> list[str]:
    """Return the targets of a page's links and images."""
    prose = _CODE.sub("", without_blocks(text))
    return [next(filter(None, groups)) for groups in _LINK.findall(prose)] + _HTML.findall(prose)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page, made of its headings as code hosts make them."""
    prose = without_blocks(text)
    seen: Counter[str] = Counter()
    found = set(_ANCHOR.findall(prose))
    for _, title in _HEADING.findall(prose):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def problem_of(page: Path, target: str) -> str | None:
    """Return what is wrong with a link, if anything."""
    if re.match(r"[a-z][a-z0-9+.-]*:", target):
        return _problem_outside(target)
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_relative_to(ROOT):
        return "leaves the repository"
    if not file.exists():
        return "no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file.read_text())):
        return f"no such anchor in {file.relative_to(ROOT)}"
    return None


def _problem_outside(target: str) -> str | None:
    if re.match(r"http://(127\.0\.0\.1|localhost)[:/]", target):
        return None
    return None if re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/\S*)?", target) else "no https address"
