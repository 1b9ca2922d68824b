"""The report as one HTML page that asks for nothing: no script, no file beside it, no address but in its links."""

import math
from pathlib import Path

from fragility.audit import figures, tables, words
from fragility.audit.report import Report
from fragility.audit.worst import worst

#: Settings in the words of the page; what is not named here is written with its own name.
SETTINGS = {
    "epsilon": "radius of noise and attacks", "k": "share of the pixels that counts as the top",
    "steps": "steps of an attack", "attacked": "images attacked at most", "removed": "shares of the pixels removed",
    "samples": "draws for sensitivity, and squares for infidelity", "depths": "steps of the cascade",
    "seed": "of all random numbers", "window": "pixels by which a mark may move and still be near",
}


def render(report: Report) -> str:
    """The page of a report. Names of files, classes and methods are text in it, whatever they hold.

    ImportError says what to install where Jinja2 is missing.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("The page is written by Jinja2; pip install 'fragility[audit]' brings it.") from error
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                                     trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"number": words.number, "plain": words.plain, "fixed": words.fixed, "date": words.date}
    text = environment.get_template("report.html").render(contents(report))
    return text.encode("utf-8", "replace").decode()     # names of files may hold what no encoding writes


def contents(report: Report) -> dict:
    """What the template fills in; empty where there is nothing to show."""
    methods, controls = tables.grid(report)
    names, pairs = tables.agreement(report)
    return {
        "report": report, "subject": report.subject, "settings": report.settings,
        "methods": methods, "controls": controls, "counts": tables.counts(report), "evidence": tables.evidence(report),
        "anchors": {each.name: f"c-{place}" for place, each in enumerate(report.criteria)},
        "worst": worst(report),
        "overlap": figures.overlap(report), "stability": stability(report),
        "removal": figures.removal(report, "removal"), "deletion": figures.removal(report, "deletion"),
        "cascade": figures.cascade(report), "cost": figures.cost(report),
        "agreeing": names, "pairs": pairs,
        "compared": sorted(report.compared, key=lambda one: ("dropped", "risen", "same").index(one["change"])),
        "refused": [(name, one["refused"]) for name, one in report.methods.items() if one["refused"]],
        "not_judged": tables.not_judged(report), "listed": listed(report.settings),
    }


def stability(report: Report) -> list[dict]:
    """A row a method: what noise and attacks leave, in numbers."""
    noise, attack, lens = (figures.measured(report, name) for name in ("noise", "attack", "attack-lens"))

    def mean(results: dict, method: str, detail: str | None = None) -> str:
        one = results.get(method)
        values = one and (one.score if detail is None else one.details.get(detail))
        return words.fixed(math.nan if values is None else figures.mean(values), 2)
    return [{"method": method, "noise": mean(noise, method), "rank": mean(noise, method, "rank"),
             "near": mean(noise, method, "near"), "attack": mean(attack, method), "lens": mean(lens, method),
             "found": mean(attack, method, "found"), "moved": mean(attack, method, "moved")} for method in noise]


def listed(settings: dict) -> list[tuple[str, str, str]]:
    """Name, meaning and value of each setting but the command, which the page shows apart."""
    def written(name: str, value) -> str:
        if name == "epsilon":
            return f"{words.plain(255 * value)}/255"
        if name == "made":
            return words.date(value)
        if isinstance(value, (list, tuple)):
            return ", ".join(map(str, value))
        return str(value)
    return [(name, SETTINGS.get(name, ""), written(name, value)) for name, value in settings.items()
            if name != "command"]
