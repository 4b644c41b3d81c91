"""How many wrong tokens an address may send: a bucket of tries, which fills again slowly.

Guessing 256 random bits is hopeless at any rate; what is limited is the noise and the load. A valid token is accepted
whatever else its address has sent, since thousands of trainers may share a proxy's.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

BURST = 20
PER_MINUTE = 10
_MAX_ADDRESSES = 10_000
_IPV6_NETWORK_BITS = 64  # what one host may choose addresses from
_SECONDS_PER_TRY = 60 / PER_MINUTE


class WrongTokens:
    """Counts the wrong tokens of each address, in this process."""

    def __init__(self) -> None:
        self._free_at: OrderedDict[str, float] = OrderedDict()
        """When an address would have a full bucket again; the one that sent a wrong token last is the last."""

    def is_over(self, address: str, now: float) -> bool:
        """Return whether an address has no try left.

        Args:
            address: The address, or whatever else names the sender.
            now: The time, in seconds.
        """
        return self.wait_seconds(address, now) > 0

    def wait_seconds(self, address: str, now: float) -> float:
        """Return in how many seconds an address has a try; 0: now."""
        full_in = self._free_at.get(_sender(address), now) - now
        return max(0.0, full_in - (BURST - 1) * _SECONDS_PER_TRY)

    def add(self, address: str, now: float) -> None:
        """Count a wrong token, if the address has a try left."""
        if self.is_over(address, now):
            return
        sender = _sender(address)
        self._free_at[sender] = max(now, self._free_at.get(sender, now)) + _SECONDS_PER_TRY
        self._free_at.move_to_end(sender)
        if len(self._free_at) > _MAX_ADDRESSES:
            self._free_at.popitem(last=False)


def _sender(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(int(parsed) >> _IPV6_NETWORK_BITS)
    return address
