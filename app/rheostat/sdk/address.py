"""The server's address, and what to check where no server answers."""

import re
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

import httpx

from rheostat.errors import ConfigurationError

_HINT = "In RHEOSTAT_URL, --server or Client(...), write http://host:8420."
_WITHOUT_SCHEME = re.compile(r"(?!\d+$)(\[[\da-f:.]+\]|[\w.-]+)(:\d+)?(/[^/].*)?", re.IGNORECASE)
"""A host, its port and the path of a proxy; a number alone is no host."""


def full_url(url: str) -> str:
    """Return an address with its scheme, which is http:// where none is written, and without a slash at its end."""
    url = url.rstrip("/")
    return f"http://{url}" if _WITHOUT_SCHEME.fullmatch(url) else url


def checked_url(url: str) -> httpx.URL:
    """Return an address of a server.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{url!r} is not an HTTP address: {error}.", hint=_HINT) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError(f"{url!r} is not an HTTP address.", hint=_HINT)
    return parsed


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_of(url: httpx.URL) -> str | None:
    """Return the proxy that requests go through, if any; httpx takes proxies from the same variables."""
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return None if is_loopback(url.host) or proxy_bypass(url.host) else proxy


def unreachable_hint(url: httpx.URL) -> str:
    """Return what to check when there is no answer."""
    if proxy_of(url) is None:
        return "Is the server running, and is RHEOSTAT_URL its address? `rheostat serve` starts one."
    variable = f"{url.scheme.upper()}_PROXY"
    return f"It went through the proxy of {variable}: if the server is reached without, set NO_PROXY={url.host}."
