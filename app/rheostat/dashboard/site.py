"""What an operator says of the site: prices and the like; nothing is assumed where nothing is said."""

from dataclasses import dataclass

from rheostat.dashboard.words import JOULES_PER_KWH


@dataclass(frozen=True, slots=True)
class Site:
    """The site that the pages are for.

    Attributes:
        name: Its name; empty: none.
        price_per_kwh: Price of electricity; None: money is not shown.
        currency: Of the price.
        carbon_grams_per_kwh: Carbon intensity of electricity in g CO2e; None: emissions are not shown.
    """

    name: str = ""
    price_per_kwh: float | None = None
    currency: str = ""
    carbon_grams_per_kwh: float | None = None

    def price(self, joules: float | None) -> float | None:
        """Return what an energy costs; None where the price is not known."""
        return _times(joules, self.price_per_kwh)

    def carbon_grams(self, joules: float | None) -> float | None:
        """Return the emissions of an energy in grams; None where the intensity is not known."""
        return _times(joules, self.carbon_grams_per_kwh)


def _times(joules: float | None, per_kwh: float | None) -> float | None:
    return None if joules is None or per_kwh is None else joules / JOULES_PER_KWH * per_kwh
