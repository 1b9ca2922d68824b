"""A Sphinx extension: the first time that a page uses a word of the glossary, the word links to what it means."""

import re

from docutils import nodes
from sphinx import addnodes

PAGE = "book/glossary"
PLAIN = (nodes.reference, nodes.title, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw,
         addnodes.pending_xref, nodes.term, nodes.table)      # in these a link would be in the way
WITHOUT = ("book/api", "book/bibliography", PAGE)       # pages that are looked things up in


def setup(app) -> dict:
    """Tell Sphinx of the extension; it calls this."""
    app.connect("doctree-resolved", link_words)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def link_words(app, doctree: nodes.document, page: str) -> None:
    """Turn the first use of each word on a page into a link with its meaning as a tooltip."""
    if page in WITHOUT or PAGE not in app.env.found_docs:
        return
    meanings = _meanings(app.env.get_doctree(PAGE))
    left = dict(meanings)
    for text in list(doctree.findall(nodes.Text)):
        if left and _is_prose(text):
            text.parent.replace(text, _linked(app, page, text.astext(), left))


def _meanings(glossary: nodes.document) -> dict[str, tuple[str, str]]:
    """Each word of the glossary: the anchor of its entry, and the first sentence of what it means."""
    meanings = {}
    for item in glossary.findall(nodes.definition_list_item):
        meaning = re.sub(r"\s+", " ", item[-1].astext()).partition(". ")[0].rstrip(".") + "."
        terms = list(item.findall(nodes.term))
        meanings |= {term.astext(): (terms[0]["ids"][0], meaning) for term in terms}
    return meanings


def _is_prose(text: nodes.Text) -> bool:
    parents = []
    node = text.parent
    while node is not None:
        parents.append(node)
        node = node.parent
    return (any(isinstance(one, (nodes.paragraph, nodes.caption)) for one in parents)
            and not any(isinstance(one, PLAIN) for one in parents))


def _linked(app, page: str, text: str, left: dict[str, tuple[str, str]]) -> list[nodes.Node]:
    """A text with the words that it uses first as links; these are taken from `left`, with others of the same entry."""
    parts, start = [], 0
    # Of two words that begin at one place the longer one is meant: "LENS recall" before "LENS".
    words = "|".join(re.escape(word) for word in sorted(left, key=len, reverse=True))
    for found in re.finditer(rf"(?<![\w-])({words})(?![\w-])", text):
        if found[1] not in left:
            continue
        anchor, meaning = left[found[1]]
        for word in [word for word, (other, _) in left.items() if other == anchor]:
            del left[word]
        target = f"{app.builder.get_relative_uri(page, PAGE)}#{anchor}"
        parts += [nodes.Text(text[start:found.start()]),
                  nodes.reference("", found[1], internal=True, refuri=target, reftitle=meaning, classes=["word"])]
        start = found.end()
    return [part for part in (*parts, nodes.Text(text[start:])) if part.astext()]
