"""Tags: what else a run is known by, as its run in another tool. Nothing is learned from them."""

from typing import Annotated

from pydantic import Field

from rheostat.schemas.fields import Printable

MAX_TAGS = 16
_KEY = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}"
TAG_RULE = (
    f"at most {MAX_TAGS}; a key has up to 64 letters of A to Z and a to z, digits, dots, hyphens, slashes and "
    "underscores, a letter or digit first; a value has up to 256 printable characters"
)
"""What tags may be, in words."""

TagKey = Annotated[str, Field(pattern=f"^{_KEY}$")]
TagValue = Annotated[str, Field(min_length=1, max_length=256), Printable]
Tags = Annotated[dict[TagKey, TagValue], Field(max_length=MAX_TAGS, examples=[{"mlflow_run": "https://mlflow/runs/7"}])]
TagQuery = Annotated[str, Field(pattern=f"^{_KEY}(=.{{1,256}})?$", examples=["mlflow_run=7"]), Printable]
"""A tag to search for, as ``key=value``, or a key alone for any value."""
