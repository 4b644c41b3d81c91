"""The server's address, and what to check where no server answers."""

from ipaddress import ip_address
from urllib.request import getproxies_environment, proxy_bypass

import httpx

from rheostat.errors import ConfigurationError


def checked_url(url: str) -> httpx.URL:
    """Return an address of a server.

    Raises:
        ConfigurationError: It is none.
    """
    example = "http://host:8420" if "://" in url or not url else f"http://{url}"
    hint = f"In RHEOSTAT_URL, --server or Client(...), write {example}."
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{url!r} is not an HTTP address: {error}.", hint=hint) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError(f"{url!r} is not an HTTP address.", hint=hint)
    return parsed


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_of(scheme: str, host: str) -> str:
    """Return the proxy that the environment has for a host, without user and password; "": requests go without."""
    proxies = getproxies_environment()
    proxy = proxies.get(scheme) or proxies.get("all") or ""
    if not proxy or is_loopback(host) or proxy_bypass(host):
        return ""
    return proxy.rpartition("@")[2]


def unreachable_hint(url: httpx.URL) -> str:
    """Return what to check when there is no answer."""
    if proxy := proxy_of(url.scheme, url.host):
        return f"The request went to the proxy {proxy}: if the server is reached without, set NO_PROXY={url.host}."
    return "Is the server running, and is RHEOSTAT_URL its address? `rheostat serve` starts one."
