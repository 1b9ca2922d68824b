"""Numbers, times and intervals as the page writes them."""

import math
from datetime import datetime

MINUS = "\N{MINUS SIGN}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
        return f"{base} × 10{str(int(exponent)).translate(RAISED)}".replace("-", MINUS)
    return fixed(value, max(0, digits - 1 - power))


def plain(value: float, digits: int = 3) -> str:
    """Without zeros at its end: of a number that was chosen, not measured."""
    before, times, power = number(value, digits).partition(" × ")
    if "." in before:
        before = before.rstrip("0").rstrip(".")
    return before + times + power


def fixed(value: float, decimals: int) -> str:
    """With so many decimals; infinity and NaN as signs."""
    if not math.isfinite(value):
        return number(value)
    text = f"{value:.{decimals}f}"
    return text.replace("-", MINUS) if float(text) else text.replace("-", "")


def effect(middle: float, low: float, high: float, threshold: float) -> tuple[str, str]:
    """An effect and its interval, with the decimals that a threshold of this size asks for."""
    decimals = 2 if abs(threshold) >= 0.1 else 3
    return fixed(middle, decimals), f"[{fixed(low, decimals)}, {fixed(high, decimals)}]"


def seconds(value: float) -> str:
    """A time with two digits, in the unit that suits it."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= 0.9995 * scale or unit == "µs":
            break
    return f"{plain(value / scale, 2)}\N{NO-BREAK SPACE}{unit}"


def date(text: str) -> str:
    """A time in ISO's form, as people write it."""
    when = datetime.fromisoformat(text)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"
