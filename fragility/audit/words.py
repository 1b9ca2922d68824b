"""Numbers, times and intervals as the page writes them."""

import math
from collections.abc import Iterable
from datetime import datetime

MINUS = "\N{MINUS SIGN}"


def number(value: float | None, digits: int = 2) -> str:
    """With so many significant digits, at most three decimals, and no exponent where it can be helped."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if power < -3 or power > 5:
        base, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{base} × 10^{int(exponent)}".replace("-", MINUS)
    return fixed(value, max(0, digits - 1 - power))


def fixed(value: float, decimals: int) -> str:
    """With so many decimals; infinity as a sign."""
    if math.isinf(value):
        return number(value)
    text = f"{value:.{decimals}f}"
    return text.replace("-", MINUS) if float(text) else text.replace("-", "")


def interval(middle: float, low: float, high: float) -> str:
    """An effect and its interval, with the decimals that the interval's width allows."""
    if low == high:
        return number(middle)
    half = (high - low) / 2
    decimals = min(4, max(2, -math.floor(math.log10(half)))) if math.isfinite(half) and half > 0 else 2
    return f"{fixed(middle, decimals)} [{fixed(low, decimals)}, {fixed(high, decimals)}]"


def seconds(value: float) -> str:
    """A time with two digits, in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= 0.9995 * scale or unit == "µs":
            break
    return f"{number(value / scale, 2)}\N{NO-BREAK SPACE}{unit}"


def date(text: str) -> str:
    """A time in ISO's form, as people write it."""
    when = datetime.fromisoformat(text)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def listed(names: Iterable[str]) -> str:
    """Names with commas, and "and" before the last."""
    names = list(names)
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)
