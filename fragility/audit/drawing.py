"""Charts as SVG inside the page: lines with bands, points with intervals; their colours are the page's own."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from fragility.audit.words import plain


class Axis(NamedTuple):
    """From a number to a place along one side of a chart."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]] = ()
    label: str = ""
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """How far along the axis a value lies, 0 at its start and 1 at its end."""
        low, high, value = (math.log(one) if self.logarithmic else one for one in (self.low, self.high, value))
        return (value - low) / (high - low)


SHARES = Axis(0, 1, [(0, "0"), (0.5, "0.5"), (1, "1")])


class Drawing:
    """An SVG picture with its text alternative; a template writes it as it is, and whatever text it holds as text."""

    def __init__(self, width: float, height: float, title: str, description: str = "", kind: str = "chart"):
        self.width, self.height = width, height
        self.root = ElementTree.Element("svg", {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "class": kind})
        self.add("title", title)
        if description:
            self.add("desc", description)

    def add(self, tag: str, text: str | None = None, *, kind: str = "", **attributes) -> None:
        """An element; `kind` is its class, numbers are places, and a word such as text_anchor is text-anchor."""
        written = {name.replace("_", "-"): f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
                   for name, value in attributes.items()}
        element = ElementTree.SubElement(self.root, tag, written | ({"class": kind} if kind else {}))
        element.text = text

    def __html__(self) -> str:
        return ElementTree.tostring(self.root, encoding="unicode")


class Panel(Drawing):
    """A chart with two axes; y grows upwards. Points that are not finite are left out."""

    def __init__(self, title: str, description: str, x: Axis, y: Axis, *, width: float = 230, height: float = 160,
                 right: float = 8, left: float = 30):
        super().__init__(width, height, title, description)
        self.x, self.y = x, y
        self.left, self.right, self.top, self.bottom = left, width - right, 20.0, height - 32.0
        for value, label in y.ticks:
            at = self.up(value)
            self.add("line", kind="rule", x1=self.left, x2=self.right, y1=at, y2=at)
            self.add("text", label, x=self.left - 5, y=at + 4, text_anchor="end")
        for value, label in x.ticks:
            at = self.along(value)
            self.add("line", kind="rule", x1=at, x2=at, y1=self.bottom, y2=self.bottom + 4)
            self.add("text", label, x=at, y=self.bottom + 15, text_anchor="middle")
        self.add("line", kind="axis", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom)
        self.add("text", x.label, kind="label", x=self.right, y=height - 4.0, text_anchor="end")
        self.add("text", y.label, kind="label", x=0, y=10)

    def along(self, value: float) -> float:
        """Place of a value of x."""
        return self.left + self.x.share(value) * (self.right - self.left)

    def up(self, value: float) -> float:
        """Place of a value of y, held inside the chart."""
        return self.bottom - min(max(self.y.share(value), 0), 1) * (self.bottom - self.top)

    def line(self, xs: Iterable[float], ys: Iterable[float], kind: str) -> None:
        """A line through points."""
        points = [f"{self.along(x):.1f},{self.up(y):.1f}" for x, y in zip(xs, ys) if math.isfinite(y)]
        if points:
            self.add("polyline", kind=f"line {kind}", points=" ".join(points))

    def band(self, xs: Iterable[float], lows: Iterable[float], highs: Iterable[float], kind: str) -> None:
        """What lies between two lines."""
        known = [(x, low, high) for x, low, high in zip(xs, lows, highs) if math.isfinite(low) and math.isfinite(high)]
        edge = [(x, low) for x, low, _ in known] + [(x, high) for x, _, high in reversed(known)]
        if edge:
            self.add("polygon", kind=f"band {kind}", points=" ".join(f"{self.along(x):.1f},{self.up(y):.1f}"
                                                                    for x, y in edge))

    def level(self, value: float, kind: str) -> None:
        """A line across the chart."""
        if math.isfinite(value):
            self.add("line", kind=f"line {kind}", x1=self.left, x2=self.right, y1=self.up(value), y2=self.up(value))

    def point(self, x: float, y: float, low: float, high: float, kind: str, shape: str = "circle") -> None:
        """A mark with its interval."""
        if not math.isfinite(y):
            return
        across, up = self.along(x), self.up(y)
        if math.isfinite(low) and math.isfinite(high):
            self.add("line", kind=f"line {kind}", x1=across, x2=across, y1=self.up(low), y2=self.up(high))
        if shape == "circle":
            self.add("circle", kind=f"mark {kind}", cx=across, cy=up, r=4)
        else:
            self.add("path", kind=f"mark {kind}", d=f"M{across:.1f} {up - 5:.1f}l5 5-5 5-5-5z")


class Labelled(NamedTuple):
    """A point with a name, and with an interval of y."""

    name: str
    x: float
    y: float
    low: float
    high: float
    kind: str
    shape: str = "circle"


def scatter(title: str, description: str, x: Axis, y: Axis, points: Sequence[Labelled], levels: dict[str, float],
            *, width: float = 640) -> Panel:
    """Points whose names stand in a column beside the chart, in the order of y, so that none covers another."""
    column, step = 150.0, 15.0
    panel = Panel(title, description, x, y, width=width, height=max(240.0, 60 + step * len(points)),
                  right=column + 10, left=36)
    for kind, value in levels.items():
        panel.level(value, kind)
    ordered = sorted(points, key=lambda one: -one.y)
    heights = _spread([panel.up(one.y) for one in ordered], step, panel.top, panel.bottom)
    for one, height in zip(ordered, heights):
        up = panel.up(one.y)
        panel.add("path", kind="leader", d=f"M{panel.along(one.x) + 6:.1f} {up:.1f}L{panel.right:.1f} {up:.1f}"
                                           f"L{panel.right + 12:.1f} {height:.1f}")
        panel.add("text", shortened(one.name, 22), x=panel.right + 15, y=height + 4)
    for one in ordered:
        panel.point(one.x, one.y, one.low, one.high, one.kind, one.shape)
    return panel


def _spread(heights: Sequence[float], step: float, top: float, bottom: float) -> list[float]:
    """Places in the same order, at least `step` apart and moved as little as that allows: neighbours that are too close
    are pooled around their mean."""
    pools: list[tuple[float, int]] = []
    for place, height in enumerate(heights):
        pool = (height - step * place, 1)
        while pools and pools[-1][0] > pool[0]:
            (mean, count), (other, more) = pools.pop(), pool
            pool = ((mean * count + other * more) / (count + more), count + more)
        pools.append(pool)
    last = bottom - step * (len(heights) - 1)
    starts = [min(max(mean, top), last) for mean, count in pools for _ in range(count)]
    return [start + step * place for place, start in enumerate(starts)]


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters."""
    return name if len(name) <= most else name[:most - 1] + "…"


class Strip(Drawing):
    """A row's interval on the scale that its table shares."""

    def __init__(self, axis: Axis, title: str, *, width: float = 190, height: float = 20):
        super().__init__(width, height, title, kind="chart strip")
        self.axis, self.inner = axis, 6.0
        if axis.low < 0 < axis.high:
            self.upright(0, "rule", 0, height)

    def along(self, value: float) -> float:
        return self.inner + min(max(self.axis.share(value), 0), 1) * (self.width - 2 * self.inner)

    def upright(self, value: float, kind: str, top: float, bottom: float) -> None:
        """A short upright line at a value."""
        self.add("line", kind=kind, x1=self.along(value), x2=self.along(value), y1=top, y2=bottom)

    def interval(self, low: float, middle: float, high: float, kind: str) -> None:
        """An interval with a dot at its middle; one without an end reaches to the edge."""
        at = self.height / 2
        self.add("line", kind=f"line {kind}", x1=self.along(low), x2=self.along(high), y1=at, y2=at)
        self.add("circle", kind=f"mark {kind}", cx=self.along(middle), cy=at, r=4)


def spanning(values: Iterable[float], label: str = "", count: int = 4) -> Axis:
    """An axis that holds values and zero with a little room, and about `count` round numbers on it."""
    known = [0.0, *(value for value in values if math.isfinite(value))]
    room = 0.04 * (max(known) - min(known)) or 0.5
    low, high = min(known) - room, max(known) + room
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in (1, 2, 5, 10) if power * one >= rough * 0.999)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return Axis(low, high, [(place * step, plain(place * step)) for place in places], label)


def by_tens(values: Sequence[float], written: Callable[[float], str], label: str = "") -> Axis:
    """A logarithmic axis that holds positive values with a little room, marked at powers of ten, or between them."""
    low, high = min(values) / 1.6, max(values) * 1.6
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5)):
        ticks = [step * 10.0 ** decade for decade in decades for step in steps if low <= step * 10.0 ** decade <= high]
        if len(ticks) > 2:
            break
    return Axis(low, high, [(one, written(one)) for one in ticks], label, logarithmic=True)
