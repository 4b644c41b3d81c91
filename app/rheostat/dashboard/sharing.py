"""Pages that many look at while a job runs: made once for all who may see the same, and not sent twice to anybody."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from hashlib import sha256
from threading import Lock
from typing import TypeAlias

from fastapi import Response

import rheostat
from rheostat.dashboard.forms import Proof
from rheostat.dashboard.visit import COOKIE, Page, Visit

MOST_PAGES = 32
"""So many pages are kept, some hundred kilobytes each; the one that was asked for the longest ago is dropped."""

LIFETIME_SECONDS = 60
"""So long a page may say how long ago something was, while nothing else changes on it."""

PROOF_HERE = secrets.token_hex(16)
"""Stands in a page's forms for the proof of whoever is sent it; no text from outside can be the same."""

State: TypeAlias = Callable[[Visit], Hashable | None]
"""Returns, at little cost, what changes whenever a page does; None: the page is made for this visit alone."""


class SharedPages:
    """Keeps the pages that were made last."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, Future[Response]] = OrderedDict()
        self._lock = Lock()

    def page(self, make: Page, state: State) -> Page:
        """Return a page that is made again only when its state has changed, or after a minute."""

        def answer(visit: Visit) -> Response:
            now = state(visit)
            if now is None:
                return _personal(visit, make(visit))
            tag = _tag(visit, now)
            if tag in visit.request.headers.get("if-none-match", ""):
                return Response(status_code=304, headers={"ETag": tag})
            made = self._get(tag, lambda: make(visit))
            copy = Response(made.body, made.status_code, {**made.headers, "ETag": tag})
            return _personal(visit, copy)

        return answer

    def _get(self, tag: str, make: Callable[[], Response]) -> Response:
        """Return a page; all who ask for it while it is made wait for the same one."""
        with self._lock:
            made = self._made.get(tag)
            is_mine = made is None
            if made is None:
                made = self._made[tag] = Future()
                if len(self._made) > MOST_PAGES:
                    self._made.popitem(last=False)
            self._made.move_to_end(tag)
        if is_mine:
            try:
                made.set_result(make())
            except BaseException as error:
                with self._lock:
                    self._made.pop(tag, None)
                made.set_exception(error)
        return made.result()


def _tag(visit: Visit, state: Hashable) -> str:
    scope, service = visit.request.scope, visit.service
    what = (
        rheostat.__version__,
        visit.site,
        scope.get("root_path", ""),
        scope["path"],
        scope["query_string"],
        service.namespace,
        visit.is_operator,
        COOKIE in visit.request.cookies,
        int(service.now().timestamp() // LIFETIME_SECONDS),
        state,
    )
    return f'"{sha256(repr(what).encode()).hexdigest()[:32]}"'


def _personal(visit: Visit, page: Response) -> Response:
    """Return a page with the proof of its visitor in its forms."""
    body = bytes(page.body)
    if not visit.is_operator or PROOF_HERE.encode() not in body:
        return page
    proof = Proof(visit.request)
    headers = {name: value for name, value in page.headers.items() if name not in ("content-length", "set-cookie")}
    filled = Response(body.replace(PROOF_HERE.encode(), proof.text.encode()), page.status_code, headers)
    for cookie in page.headers.getlist("set-cookie"):
        filled.headers.append("set-cookie", cookie)
    return proof.keep(filled)
