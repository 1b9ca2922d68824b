"""What the book's own pages say of its results, filled in when it is staged: none of it is typed."""

from collections import Counter
from html import escape
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import yaml

from lab.chapters.fragility import cat, portrait_sizes
from lab.chapters.scoreboard import board, figures, scoreboard
from lab.core import folders, results
from lab.drawing.claims import CONTROLS
from lab.drawing.style import use_style
from lab.drawing.tables import PAPERS, VERDICT_MARKS
from lab.verdicts import is_control

PICTURES = Path("book") / "pictures"
CAT = Path("book") / "_static" / "cat"
SOURCE = "Source"       # what the picture of the scoreboard says of its records
SCOREBOARD = """```{{figure}} {picture}
:name: fig-front-scoreboard
:alt: A grid of saliency maps and questions; each cell has a mark for pass, fail or undecided

Which map passes which question of the audit, on one network: [the scoreboard](../notebooks/scoreboard.ipynb).
```"""
MUST_HOLD = ("cannot tell", "a theorem")        # verdicts that a placebo reaches, too, or that follow from definitions
#: How we know a paper's number, in groups of the marks that claims have.
SOURCES = {"read": ("text", "table"), "digitised": ("digitised",), "code": ("code",), "second_hand": ("second-hand",),
           "recalled": ("recalled",), "none": ("construction", "none")}


def fill(stage: Path, judged: list[dict], claims: list[dict], reports: dict[str, dict]) -> None:
    """Draw the pictures of the front page and of the page on the cat, and give both their numbers.

    `judged` has the verdict on each claim, `claims` the entries of `claims/`, `reports` the numbers of each chapter.
    The pages take them by name, as {{ verdicts.holds }}: substitutions of MyST, set in the staged configuration.
    """
    (stage / PICTURES).mkdir(parents=True)
    cat.front_picture(stage / PICTURES / "cat.png")
    values = {"verdicts": counts(judged), "verdict_table": verdict_table(judged), "sources": sources(claims),
              "numbers": {name: {number: about["text"] for number, about in report["numbers"].items()}
                          for name, report in reports.items()},
              "bibtex": f"```bibtex\n{bibtex(yaml.safe_load((folders.ROOT / 'CITATION.cff').read_text()))}\n```",
              "scoreboard": scoreboard_figure(stage / PICTURES / "scoreboard.png"),
              "cat_figure": cat.slider(stage / CAT, "../_static/cat"), "cat_side": portrait_sizes.SEEN}
    file = stage / "_config.yml"
    config = yaml.safe_load(file.read_text())
    config["parse"]["myst_substitutions"] = values
    file.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False))


def scoreboard_figure(target: Path) -> str:
    """Draw the scoreboard where records of its edition are published; the figure as MyST, else nothing.

    The picture names the file of records that it is of, so that a committed copy can be held against it.
    """
    table = results.measured(scoreboard.EXPERIMENT, "edition", None)
    if table.empty:         # as after a new version, until it is measured again
        return ""
    with mpl.rc_context():
        use_style()
        figure = figures.front(board.verdicts(table))
        figure.savefig(target, metadata={SOURCE: results.digest(scoreboard.EXPERIMENT)})
        plt.close(figure)
    return SCOREBOARD.format(picture=f"{target.parent.name}/{target.name}")


def counts(judged: list[dict]) -> dict[str, int]:
    """How many claims of papers have each verdict, how many of those that hold could hardly have failed, how many
    claims there are, and how many controls."""
    verdicts = Counter(claim["verdict"] for claim in judged if claim["paper"] in PAPERS)
    named = {verdict.replace(" ", "_"): verdicts[verdict] for verdict in VERDICT_MARKS}
    anyway = sum(claim["paper"] in PAPERS and claim["verdict"] == "holds" and claim["tells"] in MUST_HOLD
                 for claim in judged)
    return {**named, "anyway": anyway, "claims": verdicts.total(),
            "controls": sum(claim["paper"] == CONTROLS for claim in judged)}


def verdict_table(judged: list[dict]) -> str:
    """Verdicts by paper, without controls: each count leads to its claims."""
    found = Counter((claim["paper"], claim["verdict"]) for claim in judged)
    papers = [paper for paper in PAPERS if any(paper == one for one, _ in found)]
    shown = [verdict for verdict in VERDICT_MARKS if any((paper, verdict) in found for paper in papers)]

    def cell(paper: str, verdict: str) -> str:
        count, address = found[paper, verdict], f"paper={paper}&amp;verdict={verdict.replace(' ', '+')}"
        return f'<td>{count and f"<a href=../notebooks/claims.html?{address}>{count}</a>"}</td>'

    heads = "".join(f'<th scope="col">{VERDICT_MARKS[verdict]} {verdict}</th>' for verdict in shown)
    rows = "".join(f'<tr><th scope="row">{escape(PAPERS[paper])}</th>'
                   f'{"".join(cell(paper, verdict) for verdict in shown)}</tr>' for paper in papers)
    return (f'<div class="table-frame"><table class="verdicts-by-paper"><thead><tr><td></td>{heads}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>")


def sources(claims: list[dict]) -> dict[str, int]:
    """Of how many claims of papers the paper's number was read, digitised, second-hand, …: the groups of SOURCES."""
    papers = (claim for claim in claims if claim["paper"] in PAPERS and not is_control(claim))
    known = Counter(claim.get("known", "none") for claim in papers)
    return {name: sum(known[mark] for mark in marks) for name, marks in SOURCES.items()}


def bibtex(citation: dict) -> str:
    """The entry of BibTeX that a CITATION.cff amounts to."""
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" if "family-names" in author
                           else f"{{{author['name']}}}" for author in citation["authors"])     # braces: not a person
    fields = {"title": f"{{{citation['title']}}}", "author": authors, "version": citation["version"],
              "url": citation["repository-code"], "doi": citation.get("doi"),
              "year": str(citation.get("date-released", ""))[:4]}
    lines = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    return "@software{fragility,\n" + ",\n".join(lines) + "\n}"
