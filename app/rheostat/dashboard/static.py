"""The files that pages load: compressed once, and kept by browsers for as long as they stay the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from gzip import compress
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec
from mimetypes import guess_type
from pathlib import Path

from fastapi import Request, Response

ASSETS = "/assets"
"""Where style sheet, scripts and icon are; they are public, and the same for every visitor."""

FOLDER = Path(str(files("rheostat.dashboard") / "assets"))
"""Our own files."""

_LEVEL = 6
"""Of compression: the highest takes half as long again, for files that are 0.2 % smaller."""

_A_YEAR = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"
_LONGEST_HASH = 16


@dataclass(frozen=True)
class Asset:
    """A file that pages load."""

    path: Path

    @cached_property
    def version(self) -> str:
        """Changes with the content, so that browsers ask for a changed file at another address."""
        return sha256(self.path.read_bytes()).hexdigest()[:_LONGEST_HASH]

    @cached_property
    def compressed(self) -> bytes:
        """The content as gzip."""
        return compress(self.path.read_bytes(), _LEVEL, mtime=0)

    def answer(self, request: Request) -> Response:
        """Return the file, or that it is still what the browser has."""
        is_compressed = accepts_gzip(request.headers.get("accept-encoding", ""))
        tag = f'"{self.version}{"-gzip" if is_compressed else ""}"'
        is_pinned = request.query_params.get("v") == self.version
        headers = {"ETag": tag, "Vary": "Accept-Encoding", "Cache-Control": _A_YEAR if is_pinned else _ASK_FIRST}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = self.compressed if is_compressed else self.path.read_bytes()
        if is_compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(content, headers=headers, media_type=guess_type(self.path.name)[0])


def accepts_gzip(accepted: str) -> bool:
    """Return whether a header Accept-Encoding takes gzip."""
    for part in accepted.lower().split(","):
        name, _, quality = part.partition(";")
        if name.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


@lru_cache(maxsize=1)
def assets() -> Mapping[str, Asset]:
    """Return our own files, and the library that draws the figures from the package that carries it, by their names."""
    spec = find_spec("plotly")  # not imported: that would take a tenth of a second
    assert spec is not None
    assert spec.origin is not None
    plotly = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return {path.name: Asset(path) for path in (*sorted(FOLDER.iterdir()), plotly)}


def address(name: str) -> str:
    """Return the address of a file below the root of the pages."""
    return f"{ASSETS}/{name}?v={assets()[name].version}"


def answer(request: Request) -> Response:
    """Return the file that a request names."""
    asset = assets().get(request.path_params["name"])
    return Response("There is no such file.", 404, media_type="text/plain") if asset is None else asset.answer(request)
