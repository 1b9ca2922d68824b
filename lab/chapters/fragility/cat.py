"""The cat for the book's own pages: the picture of the front page, and the figure in which the reader drags ε.

Both are drawn from published records when the book is staged; neither needs data or weights.
"""

from html import escape
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from PIL import Image
from torch import Tensor

from lab.chapters.fragility import portrait_sizes, portraits
from lab.core import results
from lab.core.store import Record
from lab.drawing.maps import map_table
from lab.drawing.names import NAMES
from lab.drawing.style import use_style

ATTACKS = ("random_sign", "topk", "center")
METHODS = ("gradient", "deeplift", "integrated_gradients", "deep_taylor")
#: Columns of scores: the record's, its heading, and how its values are written.
SCORES = {"topk": ("top 1,000 pixels kept", "{:.0%}"), "spearman": ("rank correlation", "{:.2f}"),
          "center": ("centre moved by", "{:.0f} px")}


def front_picture(target: Path) -> None:
    """Draw the cat, clean, under noise and under two attacks, and its gradient's maps, into a PNG file: under a
    photograph its label, under a map the share of the top pixels that stay."""
    images, maps, titles, methods = portraits.gallery(results.published(portraits.EXPERIMENT),
                                                      portrait_sizes.PHOTOGRAPH, ATTACKS)
    row = methods.index(METHODS[0])
    with mpl.rc_context():
        use_style()
        names = ["clean", *(NAMES[attack] for attack in ATTACKS)]
        figure = map_table(images[row], maps[[row]], [[""] * len(names)], names, [""])
        notes = [*titles[row], "its map", *(f"{share:.0%} stay" for share in _kept())]
        for axis, note in zip(figure.axes, notes, strict=True):
            axis.set_title(axis.get_title(), fontsize=11)
            axis.text(0.5, -0.03, note, transform=axis.transAxes, ha="center", va="top", fontsize=11)
        figure.set_size_inches(7.2, 4.3)
        figure.savefig(target, dpi=150)
        plt.close(figure)


def _kept() -> list[float]:
    """Share of the top pixels of the cat's first map that stay, by perturbation of the largest size."""
    found = records()
    return [found[METHODS[0], attack, max(size for *_, size in found)].table.topk.iloc[0] for attack in ATTACKS]


def records() -> dict[tuple[str, str, int], Record]:
    """Published portraits of the cat by method, attack and size in grey levels of 255."""
    found = [*results.published(portraits.EXPERIMENT), *results.published(portrait_sizes.EXPERIMENT)]
    return {(one.parameters["method"], one.parameters["attack"], round(255 * one.parameters["epsilon"])): one
            for one in found if one.parameters["photograph"] == portrait_sizes.PHOTOGRAPH}


def slider(folder: Path, address: str) -> str:
    """Write the pictures of the figure that the reader drags into a folder; the HTML of the figure.

    `address` is the folder's, as the page sees it. Without a script the figure shows the largest size, and the table
    under it has all scores.
    """
    found = records()
    folder.mkdir(parents=True)
    sizes = sorted({size for *_, size in found if all((*one, size) in found for one in _pairs())})
    _draw(found, sizes, folder)
    controls = (f'<p class="drag-control"><label for="epsilon">Largest change of a pixel: <output for="epsilon">'
                f'{sizes[-1]}/255</output></label><input type="range" id="epsilon" min="0" max="{len(sizes)}" step="1" '
                f'value="{len(sizes)}" data-sizes="{" ".join(map(str, (0, *sizes)))}" disabled></p>')
    scores = (f'<details><summary>All scores as a table</summary><div class="table-frame">{_scores(found, sizes)}'
              '</div></details>')
    return f'<div class="drag" data-pictures="{address}">{controls}{_grid(found, sizes[-1], address)}{scores}</div>'


def _pairs() -> list[tuple[str, str]]:
    return [(method, attack) for method in METHODS for attack in ATTACKS]


def _draw(found: dict, sizes: list[int], folder: Path) -> None:
    """One small picture a map and size, and the photographs as they were attacked for the gradient."""
    for method in METHODS:
        _save(_coloured(portrait_sizes.shrink(found[method, ATTACKS[0], sizes[-1]].tensors()["before"])),
              folder / f"{method}-clean.webp")
    _save(portrait_sizes.shrink(_photograph(found)), folder / "image-clean.webp")
    for (method, attack), size in ((pair, size) for pair in _pairs() for size in sizes):
        pictures = found[method, attack, size].tensors()
        _save(_coloured(portrait_sizes.shrink(pictures["after"])), folder / f"{method}-{attack}-{size}.webp")
        if method == METHODS[0]:
            _save(portrait_sizes.shrink(pictures["attacked"]), folder / f"image-{attack}-{size}.webp")


def _photograph(found: dict) -> Tensor:
    network = found[METHODS[0], ATTACKS[0], max(size for *_, size in found)].parameters["network"]
    return (255 * portraits.photograph(portrait_sizes.PHOTOGRAPH, network)[0]).round().byte()


def _coloured(pixels: Tensor) -> Tensor:
    """A map of 8 bits (h, w) in the house's colours (3, h, w); averaging has dimmed it, so it is stretched again."""
    stretched = portraits.shade(pixels[None].float())[0]
    return torch.from_numpy(mpl.colormaps["magma"](stretched.numpy(), bytes=True)[..., :3]).permute(2, 0, 1)


def _save(picture: Tensor, target: Path) -> None:
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(target, quality=85)


def _grid(found: dict, size: int, address: str) -> str:
    """A table of pictures: the photograph and its maps, clean and perturbed."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("clean", *(NAMES[attack] for attack in ATTACKS)))
    rows = [("image", "the photograph"), *((method, NAMES[method]) for method in METHODS)]
    body = "".join(f'<tr><th scope="row">{name}</th>{_clean(found, row, name, address)}'
                   + "".join(_perturbed(found, row, name, attack, size, address) for attack in ATTACKS) + "</tr>"
                   for row, name in rows)
    return f'<table class="drag-grid"><thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody></table>'


def _clean(found: dict, row: str, name: str, address: str) -> str:
    first = next(iter(found.values())).table.iloc[0]
    note = f"{escape(first.label)}, {first.confidence:.0%}" if row == "image" else ""
    return f'<td>{_image(f"{address}/{row}-clean.webp", f"{name}, clean")}<small>{note}</small></td>'


def _perturbed(found: dict, row: str, name: str, attack: str, size: int, address: str) -> str:
    scores = found[row if row != "image" else METHODS[0], attack, size].table.iloc[0]
    text = " · ".join(_written(scores)) if row != "image" else _labelled(scores)
    picture = _image(f"{address}/{row}-{attack}-{size}.webp", f"{name}, {NAMES[attack]}")
    return f'<td data-row="{row}" data-attack="{attack}">{picture}<small>{text}</small></td>'


def _image(source: str, alt: str) -> str:
    side = portrait_sizes.SIDE
    return f'<img class="dark-light" loading="lazy" src="{source}" alt="{alt}" width="{side}" height="{side}">'


def _written(scores) -> list[str]:
    return [form.format(scores[column]).replace("-", "−") for column, (_, form) in SCORES.items()]


def _labelled(scores) -> str:
    return f"{escape(scores.label_after)}, {scores.confidence_after:.0%}"


def _scores(found: dict, sizes: list[int]) -> str:
    """All numbers of the figure, which its script reads, and a reader who cannot see it."""
    heads = "".join(f'<th scope="col">{name}</th>' for name in (
        "map", "perturbation", "size", *(heading for heading, _ in SCORES.values()), "label after"))
    rows = "".join(f'<tr data-row="{method}" data-attack="{attack}" data-size="{size}"><td>{NAMES[method]}</td>'
                   f'<td>{NAMES[attack]}</td><td>{size}/255</td>'
                   + "".join(f"<td>{text}</td>" for text in _written(scores)) + f"<td>{_labelled(scores)}</td></tr>"
                   for (method, attack) in _pairs() for size in sizes
                   for scores in [found[method, attack, size].table.iloc[0]])
    return f"<table class='drag-scores'><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
