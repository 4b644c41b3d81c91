"""Write docs/api.md: the OpenAPI document, the errors and one exchange of each operation, for people."""

import json
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from docs.api_examples import Exchange, recorded_exchanges
from rheostat import errors
from rheostat.api import problems
from rheostat.errors import AgentError, RheostatError

PAGE = Path(__file__).parent / "api.md"
_SECTIONS = {
    "jobs": "Jobs",
    "trials": "Trials",
    "power limits": "Power limits and surveys",
    "control": "Steering a job",
    "review": "Review",
    "operations": "Operations",
    "zeus": "The protocol of Zeus's server",
}
_OF_THE_CLIENT = (errors.ConfigurationError, errors.ServerUnreachable, errors.ServerRefused)
_ANY_ROUTE = {"401", "403", "408", "413", "421", "422", "429", "503"}
_HEAD = """\
# REST API

Every route of the server, for whoever talks HTTP to it or writes a client in another language; [plain HTTP](http.md)
shows a whole run. Written by `make docs-api` from the OpenAPI document, which a server also answers at `/openapi.json`,
and as a page to try routes on at `/docs`.

- Bodies are JSON; unknown fields, NaN and infinities are refused. Names carry their unit, times are RFC 3339 in UTC.
- `Authorization: Bearer TOKEN`, once [a token exists](operations.md#tokens-and-namespaces); each operation names the
  scope that it needs. An admin whose token is bound to no namespace may choose one by `Rheostat-Namespace`.
- Lists come in pages: pass `next_cursor` of one as `cursor` of the next, until it is null.
- With the header `Idempotency-Key` the same request has the same answer, however often it is sent.

The examples were recorded from a server, one after the other on an empty database; of a list of objects
the first is shown, and three digits of a figure.

## Errors

Every error is `application/problem+json` (RFC 9457, see [Problem](#problem)). Go by `code`, which never changes;
`detail` and `hint` are for people, `fields` names every bad field. Where `retryable` is true the same request may
succeed later: wait for `Retry-After` seconds. Under `/zeus` the answer is `{"message": "..."}`.
"""


def page(document: dict[str, Any], exchanges: dict[str, Exchange]) -> str:
    """Return the page.

    Args:
        document: The OpenAPI document.
        exchanges: An exchange of each operation, by its id.
    """
    parts = [_HEAD, *_error_tables()]
    for tag, title in _SECTIONS.items():
        parts.append(f"## {title}\n")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["tags"] == [tag]:
                    parts += _operation(method.upper(), path, operation, exchanges[operation["operationId"]])
    parts.append("## Objects\n")
    for name, schema in document["components"]["schemas"].items():
        parts += _object(name, schema)
    return "\n".join(parts).rstrip() + "\n"


def _error_tables() -> Iterator[str]:
    kinds = list(_descendants(RheostatError))
    ours = [kind for kind in kinds if not issubclass(kind, (AgentError, *_OF_THE_CLIENT))]
    rows = [(problems.status_of(kind), kind.code, kind.retryable, _first_line(kind)) for kind in ours]
    rows += [(status, code, False, hint.format(root_path="")) for status, (code, hint) in problems.HTTP_CODES.items()]
    rows.append((HTTPStatus.INTERNAL_SERVER_ERROR, RheostatError.code, False, "A defect; the log has its trace."))
    yield _table(
        ("status", "code", "retry", "meaning"),
        ((f"{status:d}", f"`{code}`", _yes(retry), meaning) for status, code, retry, meaning in sorted(rows)),
    )
    yield "The [node agent](agent.md) answers in the same form on its socket:\n"
    yield _own_table(kind for kind in kinds if issubclass(kind, AgentError))
    yield "The client and the command line raise besides:\n"
    yield _own_table(_OF_THE_CLIENT)


def _own_table(kinds: Iterable[type[RheostatError]]) -> str:
    rows = ((f"`{kind.code}`", _yes(kind.retryable), _first_line(kind)) for kind in kinds)
    return _table(("code", "retry", "meaning"), rows)


def _descendants(kind: type[RheostatError]) -> Iterator[type[RheostatError]]:
    """Yield the errors that are raised: those without a kind of their own under them."""
    for below in kind.__subclasses__():
        if below.__subclasses__():
            yield from _descendants(below)
        elif below.__module__ == errors.__name__:
            yield below


def _operation(method: str, path: str, operation: dict[str, Any], exchange: Exchange) -> Iterator[str]:
    yield f"### {operation['operationId']}\n"
    yield f"`{method} {path}`\n"
    yield _sentence(operation["description"]) + "\n"
    parameters = [each for each in operation.get("parameters", []) if each["name"] != "Rheostat-Namespace"]
    if parameters:
        yield _table(
            ("parameter", "in", "type", "meaning"),
            ((f"`{each['name']}`", each["in"], *_described(each["schema"], each["required"])) for each in parameters),
        )
    yield " ".join(_summary(operation, "text" if exchange.answer else "no body")) + "\n"
    yield f"```http\n{exchange.request}\n```\n"
    if exchange.answer:
        yield f"```{exchange.language}\n{exchange.answer}\n```\n"


def _summary(operation: dict[str, Any], without_schema: str) -> Iterator[str]:
    """Say what an operation needs, takes and answers."""
    scopes = [scope for each in operation.get("security", []) for scope in each.get("token", [])]
    yield f"Scope: `{scopes[0]}`." if scopes else "No token is needed."
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        optional = "" if operation["requestBody"].get("required") else ", which may be left out"
        yield f"Body: {_type(content['schema'])}{optional}."
    answers = {}
    for status, response in operation["responses"].items():
        if status < "300":
            content = next(iter(response.get("content", {"": {}}).values()))
            answers[status] = _type(content["schema"]) if content.get("schema") else without_schema
    yield "Answers: " + ", ".join(f"{status} {kind}" for status, kind in sorted(answers.items())) + "."
    own = sorted(set(operation["responses"]) - set(answers) - _ANY_ROUTE)
    if own:
        yield "Errors of its own: " + ", ".join(own) + "."


def _object(name: str, schema: dict[str, Any]) -> Iterator[str]:
    fields = schema.get("properties")
    if fields:
        yield f"### {name}\n"
        yield _sentence(schema["description"]) + "\n"
        required = schema.get("required", [])
        rows = ((f"`{field}`", *_described(each, field in required)) for field, each in fields.items())
        yield _table(("field", "type", "meaning"), rows)


def _described(schema: dict[str, Any], required: bool) -> tuple[str, str]:
    """Return a field's type and its meaning, with its default."""
    meaning = _sentence(schema.get("description", ""))
    if not required and schema.get("default") is not None:
        meaning += f" Default: `{json.dumps(schema['default'])}`."
    return _type(schema), meaning.strip()


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "any" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        bounds = {key: value for key, value in schema.items() if key in ("minimum", "exclusiveMinimum", "maximum")}
        kinds = [
            _type({**each, **(bounds if each.get("type") in ("number", "integer") else {})}) for each in schema["anyOf"]
        ]
        return " or ".join(kinds)
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("type") == "object":
        return (
            f"object of {_type(values)}" if isinstance(values := schema.get("additionalProperties"), dict) else "object"
        )
    return f"{schema.get('format', schema.get('type', 'any'))}{_bounds(schema)}"


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    if above is not None and low is None:
        return f" > {above:g}"
    # The largest numbers are what storage can hold: they say nothing to a caller.
    if low is not None and high is not None and high < 1e6:  # noqa: PLR2004
        return f" {low:g} to {high:g}"
    return f" ≥ {low:g}" if low is not None and low > -1e6 else ""  # noqa: PLR2004


def _sentence(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _first_line(kind: type[RheostatError]) -> str:
    return (kind.__doc__ or "").partition("\n")[0].replace("``", "`")


def _yes(value: bool) -> str:
    return "yes" if value else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(*recorded_exchanges()))
