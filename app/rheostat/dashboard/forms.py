"""Forms that change something: they are taken from our own pages only, and only from the session that was shown them.

A page with such a form sets a random cookie and puts a proof into the form: the HMAC of the session's token, and of the
namespace that it has chosen, under that cookie. Another site can neither read the two nor compute the proof, so it
cannot forge a form (double submit, bound to the session). Nothing is kept on the server: any worker can check a form.
"""

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request, Response

from rheostat.dashboard.visit import COOKIE, NAMESPACE_COOKIE
from rheostat.errors import Forbidden, InvalidInput

FORM_COOKIE = "rheostat_form"
PROOF = "proof"
"""Name of the form's field that holds the proof."""

_SECRET_BYTES = 32
_MOST_FIELDS = 20


class Proof:
    """The proof for the forms of one page.

    Args:
        request: The request of the page.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        known = request.cookies.get(FORM_COOKIE)
        self._secret = known or secrets.token_urlsafe(_SECRET_BYTES)
        self._is_new = not known

    @property
    def text(self) -> str:
        """What the form holds."""
        return _proof(self._secret, self._request)

    def keep(self, page: Response) -> Response:
        """Return a page that gives the browser its half."""
        if self._is_new:
            page.set_cookie(
                FORM_COOKIE,
                self._secret,
                path=self._request.scope.get("root_path", "").rstrip("/") or "/",
                secure=self._request.url.scheme == "https",
                httponly=True,
                samesite="strict",
            )
        return page


async def fields_of(request: Request) -> dict[str, str]:
    """Return the fields of a form that may change something.

    Raises:
        Forbidden: It was not sent from a page of ours, or not in the session that was shown it.
        InvalidInput: It is no form.
    """
    try:
        text = (await request.body()).decode()
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise InvalidInput("This is not a form of these pages.") from error
    if not is_from_here(request) or not _has_proof(request, fields):
        raise Forbidden(
            "The form was not sent from this page, or it is out of date: nothing was changed.",
            hint="Open the page again, and send the form from there.",
        )
    return fields


def is_from_here(request: Request) -> bool:
    """Return whether a form was sent from a page of ours, as far as the browser says.

    ``Sec-Fetch-Site`` says it best, but browsers send it only over HTTPS and to this machine itself; ``Origin`` they
    send with every form.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


def _has_proof(request: Request, fields: Mapping[str, str]) -> bool:
    secret = request.cookies.get(FORM_COOKIE)
    given = fields.get(PROOF, "").encode()
    return bool(secret) and hmac.compare_digest(given, _proof(secret or "", request).encode())


def _proof(secret: str, request: Request) -> str:
    session = f"{request.cookies.get(COOKIE, '')} {request.cookies.get(NAMESPACE_COOKIE, '')}"
    return hmac.new(secret.encode(), session.encode(), "sha256").hexdigest()
