"""What the published book has beside its pages: who it is, in words that search engines and archives read.

The repository's address is one setting, `repository: url` of `_config.yml`; the site's follows from it.
`python -m lab.publishing` writes anew what is committed of it: codemeta.json and the picture of the scoreboard.
"""

import json
import re
import shutil
import tomllib
from html import escape, unescape
from pathlib import Path
from urllib.parse import urlparse

import yaml

from fragility import __version__
from lab import front
from lab.core import folders

CODEMETA = "codemeta.json"
COPIED = ("CITATION.cff", CODEMETA)      # the pages link to the first
PREVIEW = "_static/scoreboard.png"
_NO_PAGES = ("404.html", "index.html", "genindex.html", "search.html", "py-modindex.html")     # index.html leads on


def settings() -> dict:
    return yaml.safe_load((folders.ROOT / "_config.yml").read_text())


def repository() -> str:
    """The repository's address, without a slash at its end."""
    return settings()["repository"]["url"].rstrip("/")


def site() -> str:
    """The address of the book as GitHub's pages have it, with a slash at its end."""
    owner, name = urlparse(repository()).path.strip("/").split("/")
    return f"https://{owner.lower()}.github.io/{name}/"


def front_page() -> str:
    """The path of the book's first page."""
    return f"{yaml.safe_load((folders.ROOT / '_toc.yml').read_text())['root']}.html"


def codemeta() -> dict:
    """The software's metadata in CodeMeta's terms, made of pyproject.toml and CITATION.cff."""
    project = tomllib.loads((folders.ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((folders.ROOT / "CITATION.cff").read_text())
    return {"@context": "https://w3id.org/codemeta/3.0", "@type": "SoftwareSourceCode", "name": citation["title"],
            "identifier": project["name"], "description": project["description"], "version": __version__,
            "license": f"https://spdx.org/licenses/{project['license']}",
            "author": [{"@type": "Organization", "name": one["name"]} for one in citation["authors"]],
            "codeRepository": repository(), "issueTracker": f"{repository()}/issues", "url": site(),
            "programmingLanguage": "Python", "runtimePlatform": f"Python {project['requires-python']}",
            "softwareRequirements": project["dependencies"], "developmentStatus": "active",
            "keywords": ["saliency maps", "attribution", "robustness", "interpretability", "PyTorch"]}


def on_the_front_page() -> str:
    """The front page's schema.org entry, as a script that browsers do not run."""
    about = codemeta()
    entry = {"@context": "https://schema.org", "@type": "Book", "name": about["name"], "url": site(),
             "bookFormat": "https://schema.org/EBook", "inLanguage": "en", "version": __version__,
             "description": about["description"], "license": about["license"], "author": about["author"],
             "image": site() + PREVIEW, "isBasedOn": about["codeRepository"]}
    text = json.dumps(entry).replace("</", r"<\/")      # or it would end the script
    return f'<script type="application/ld+json">{text}</script>'


def preview(title: str, page: str) -> str:
    """What a link to a page shows where it is shared."""
    values = {"og:type": "website", "og:site_name": settings()["title"], "og:title": title, "og:url": site() + page,
              "og:description": codemeta()["description"], "og:image": site() + PREVIEW,
              "og:image:alt": "A grid of saliency maps and questions: which map passes which question"}
    lines = [f'<meta property="{name}" content="{escape(value)}">' for name, value in values.items()]
    return "\n".join([*lines, '<meta name="twitter:card" content="summary_large_image">'])


def pages(html: Path) -> list[str]:
    """The book's pages that readers may arrive at, by their paths."""
    found = (file.relative_to(html).as_posix() for file in sorted(html.rglob("*.html")))
    return [page for page in found if page not in _NO_PAGES and not page.startswith(("_", "notebooks/audits/"))]


def sitemap(html: Path) -> str:
    """The addresses of all pages, as sitemaps.org has them."""
    places = "\n".join(f"  <url><loc>{site()}{page}</loc></url>" for page in pages(html))
    return ('<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
            f"{places}\n</urlset>\n")


def not_found() -> str:
    """The page for an address that there is none of; it stands alone, since it is shown at any depth."""
    title = escape(settings()["title"])
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Not found: {title}</title>
<style>:root {{ color-scheme: light dark; }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1rem; }}</style></head>
<body><h1>This page is not here</h1>
<p>Chapters have moved since an older edition, or the address has a mistake.
The <a href="{site()}">front page</a> lists all of them.</p></body>
</html>
"""


def readable_aloud(text: str) -> str:
    """A page without two things of Sphinx's that a screen reader takes for broken lists: the lines of a long signature,
    which are a list of definitions without terms, and entries of a bibliography that are no items of their list."""
    text = text.replace('role="doc-biblioentry"', 'role="listitem"')
    lines = (("<dl>", '<span class="sig-lines">'), ("</dl>", "</span>"), ("<dd>", '<span class="sig-line">'),
             ("</dd>", "</span>"))

    def signature(found: re.Match) -> str:
        whole = found[0]
        for before, after in lines:
            whole = whole.replace(before, after)
        return whole

    return re.sub(r'<dt class="sig .*?</dt>', signature, text, flags=re.DOTALL)


def finish(html: Path) -> None:
    """Add to a built book what a site needs: a page for what is not found, a site map, previews, its own metadata."""
    for page in pages(html):
        file = html / page
        text = readable_aloud(file.read_text(encoding="utf-8"))
        title = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
        added = preview(" ".join(unescape(title[1]).split()) if title else settings()["title"], page)
        if page == front_page():
            added += "\n" + on_the_front_page()
        file.write_text(text.replace("</head>", f"{added}\n</head>", 1), encoding="utf-8")
    (html / "404.html").write_text(not_found(), encoding="utf-8")
    (html / "sitemap.xml").write_text(sitemap(html), encoding="utf-8")
    for name in COPIED:
        shutil.copy(folders.ROOT / name, html)


if __name__ == "__main__":
    text = json.dumps(codemeta(), indent=2, ensure_ascii=False)
    (folders.ROOT / CODEMETA).write_text(text + "\n")
    front.scoreboard_figure(folders.ROOT / "book" / PREVIEW)
