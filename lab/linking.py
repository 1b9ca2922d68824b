"""Links between claims and what shows them: from a claim to its figure, from a figure and a chapter to their claims."""

from collections import Counter
from collections.abc import Collection, Mapping

from nbformat import NotebookNode

from lab.core import folders, profiles
from lab.drawing.claims import CONTROLS, VERDICTS
from lab.drawing.tables import LATER, PAPERS, VERDICT_MARKS

PLURAL = {"holds": "hold"}      # the other verdicts are the same of one claim and of several


def shown(claim: dict) -> list[str]:
    """The names of the figures that show a claim, as its entry in `claims/` has them: one, several, or none."""
    names = claim.get("shown", [])
    return [names] if isinstance(names, str) else names


def figure_pages() -> dict[str, str]:
    """The notebook of each figure, by the figure's name. ValueError where two figures have one name."""
    pages = {}
    for file in sorted(folders.NOTEBOOKS.glob("*.ipynb")):
        for cell in profiles.cells(file.stem):
            if name := cell["metadata"].get("mystnb", {}).get("figure", {}).get("name"):
                if name in pages:
                    raise ValueError(f"Two figures have the name {name}, in {pages[name]} and {file.stem}: rename one.")
                pages[name] = file.stem
    return pages


def check(claims: list[dict], figures: Collection[str]) -> None:
    """ValueError where the entry of a claim names a figure that there is not."""
    for claim in claims:
        if unknown := [name for name in shown(claim) if name not in figures]:
            raise ValueError(f"The claim {claim['id']} is said to be shown in {', '.join(unknown)}, which is the name "
                             "of no figure. Figures are named in the metadata of their cells: mystnb, figure, name.")


def take_verdicts(notebook: NotebookNode) -> list[dict]:
    """Remove what the executed notebook on claims tells the other pages: id, paper, verdict, scale, tells and chapter
    of each claim. ValueError where it shows no table of verdicts.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if VERDICTS in output.get("data", {}):
                return output.data.pop(VERDICTS)["claims"]
    raise ValueError("The notebook claims shows no table of verdicts: run python -m lab book --only claims.")


def link(notebook: NotebookNode, name: str, judged: list[dict], by_figure: Mapping[str, list[str]]) -> None:
    """Tell a chapter's reader which claims it is about, and the reader of each figure which ones it shows.

    `judged` is what :func:`take_verdicts` gives, `by_figure` has the claims that each figure shows.
    """
    known = {claim["id"]: claim for claim in judged}
    for cell in notebook.cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        claims = [known[one] for one in by_figure.get(figure.get("name"), []) if one in known]
        if claims:
            listed = ", ".join(_claim(one) for one in claims)
            figure["caption"] = f"{figure['caption'].rstrip()} <span class=\"claims\">Claims: {listed}.</span>"
    if mine := [claim for claim in judged if claim["chapter"] == name]:
        title, _, rest = notebook.cells[0].source.partition("\n")
        notebook.cells[0].source = f"{title}\n\n{_summary(name, mine)}\n{rest}"


def _claim(claim: dict) -> str:
    mark, verdict, one = VERDICT_MARKS[claim["verdict"]], claim["verdict"], claim["id"]
    return (f'<span role="img" aria-label="{verdict}">{mark}</span> '
            f'<a href="claims.html#{one}" title="{verdict}">{one}</a>')


def _summary(name: str, claims: list[dict]) -> str:
    """How many of a chapter's claims have each verdict, each a link to those claims; controls apart."""
    counts = Counter(claim["verdict"] for claim in claims if claim["paper"] != CONTROLS)
    controls = sum(claim["paper"] == CONTROLS for claim in claims)

    def part(asked: str, text: str) -> str:
        return f'<a href="claims.html?chapter={name}&amp;{asked}">{text}</a>'

    parts = [part(f"verdict={verdict.replace(' ', '+')}", f"{mark} {count} {PLURAL.get(verdict, verdict)}"
                  if count > 1 else f"{mark} 1 {verdict}")
             for verdict, mark in VERDICT_MARKS.items() if (count := counts[verdict])]
    if controls:
        parts.append(part(f"paper={CONTROLS}", "1 control" if controls == 1 else f"{controls} controls"))
    papers = any(claim["paper"] in {**PAPERS, **LATER} for claim in claims)
    return f'<span class="verdicts">{"Claims" if papers else "Predictions"} tested here: {" · ".join(parts)}</span>'
