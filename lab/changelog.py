"""The part of CHANGELOG.md that the claims' own `changes` tell: `python -m lab claims --publish` writes it anew."""

from collections import defaultdict

from lab import verdicts
from lab.core import folders

FILE = folders.ROOT / "CHANGELOG.md"
BEGIN, END = "<!-- made of the entries `changes` in claims/ -->", "<!-- until here -->"


def changed_tests() -> str:
    """What was tested before and what is tested now, newest first, with the claims that it concerns, as Markdown."""
    concerned = defaultdict(list)
    for claim in verdicts.load():
        for one in claim.get("changes", []):
            concerned[str(one["date"]), one["before"], one["after"], one["why"], one["seen"]].append(claim["id"])
    lines, day = [], None
    for (date, before, after, why, seen), names in sorted(concerned.items(), key=lambda item: item[0], reverse=True):
        if date != day:
            lines += ["", f"#### {date}", ""]
            day = date
        lines.append(f"* From *{before}* to *{after}*, since {why}; {'after' if seen else 'before'} data were seen: "
                     f"{', '.join(f'`{name}`' for name in names)}.")
    return "\n".join(lines).strip()


def renewed(text: str) -> str:
    """The change log with that part as the claims have it; ValueError where its marks are missing."""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{FILE.name} has no part between {BEGIN!r} and {END!r}.")
    return f"{head}{BEGIN}\n\n{changed_tests()}\n\n{END}{tail}"


def renew() -> None:
    """Write that part of the change log anew."""
    FILE.write_text(renewed(FILE.read_text()))
