"""Drawing: every figure of the book from a tidy frame or a batch of maps, in one house style."""

import json
from collections.abc import Sequence
from html import escape

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from torch import Tensor

from fragility import paths
from fragility.claims import bootstrap

NAMES = {"gradient": "simple gradient", "integrated_gradients": "integrated gradients", "deeplift": "DeepLIFT",
         "deep_taylor": "deep Taylor", "topk": "top-k attack", "center": "mass-centre attack",
         "random_sign": "random sign"}
AXES = {"topk": "top-{k} overlap", "spearman": "Spearman rank correlation", "center": "centre shift (% of image width)"}
_PALETTE = sns.color_palette("colorblind")
STYLE = {"topk": {"color": _PALETTE[0], "marker": "s"}, "center": {"color": _PALETTE[3], "marker": "o"},
         "random_sign": {"color": _PALETTE[2], "marker": "^"}}
REPORTED_WIDTH = 227      # pixels, of the photographs in [ghorbani2019]
# How the digitised curves name what our frames name.
_REPORTED_METHOD = {"gradient": "SimpleGradient", "integrated_gradients": "IntegratedGradients",
                    "deeplift": "DeepLIFT", "deep_taylor": "DeepTaylor"}
_REPORTED_METRIC = {"topk": "top1000_intersection", "spearman": "spearman", "center": "center_shift_px"}
_REPORTED_ATTACK = {"topk": "topk", "center": "center", "random_sign": "random"}


def use_style() -> None:
    """Take the house style of the repository's `matplotlibrc`."""
    style = paths.ROOT / "matplotlibrc"
    if style.is_file():
        mpl.rc_file(style)


def reported_comparison() -> dict:
    """The curves of [ghorbani2019, fig. 3], digitised from the authors' picture."""
    return json.loads((paths.CLAIMS / "reported" / "ghorbani2019_fig3.json").read_text())


def comparison(table: pd.DataFrame, reported: dict | None = None) -> Figure:
    """Curves over epsilon, metrics in rows and methods in columns, as [ghorbani2019, fig. 3].

    Lines are means over images with 95 % bootstrap bands; dotted lines the paper's means, their grid of
    epsilon laid over ours position by position (upper axis); dashed the chance level; dash-dotted the map
    of another image.
    """
    methods = list(dict.fromkeys(table.method))
    table = table.assign(center=100 * table.center / table.pixels**0.5)
    k, epsilons = int(table.k.iloc[0]), sorted(table.epsilon[table.epsilon > 0].unique())
    figure, axes = plt.subplots(len(AXES), len(methods), figsize=(1 + 3.4 * len(methods), 8.2), squeeze=False,
                                sharex=True, sharey="row")
    for (metric, label), row in zip(AXES.items(), axes):
        for method, axis in zip(methods, row):
            part = table[table.method == method]
            _curves(axis, part, metric, epsilons)
            _controls(axis, part, metric, k)
            if reported:
                _paper_curves(axis, reported, metric, method, len(epsilons))
            axis.set_ylim(*((0, None) if metric == "center" else (-0.02, 1.02)))
        row[0].set_ylabel(label.format(k=k))
    for method, top, bottom in zip(methods, axes[0], axes[-1]):
        top.set_title(NAMES[method])
        bottom.set_xticks(range(len(epsilons)), [f"{e:g}" for e in epsilons])
        bottom.set_xlabel("largest change of a pixel, ε (range of a pixel: 1)")
        if reported:
            above = top.secondary_xaxis("top")
            above.set_xticks(range(len(reported["x"]) - 1), [f"{x}/255" for x in reported["x"][1:]])
            above.tick_params(labelsize=7, colors="0.4", length=2)
    _legend_below(figure, axes[0, 0])
    return figure


def _curves(axis, part: pd.DataFrame, metric: str, epsilons: Sequence[float]) -> None:
    for attack, style in STYLE.items():
        groups = [part[(part.attack == attack) & (part.epsilon == e)][metric].to_numpy() for e in epsilons]
        if all(len(group) for group in groups):
            bands = np.array([bootstrap(group) for group in groups])
            axis.fill_between(range(len(epsilons)), *bands.T, color=style["color"], alpha=0.18, linewidth=0)
            axis.plot([group.mean() for group in groups], label=NAMES[attack], **style)


def _controls(axis, part: pd.DataFrame, metric: str, k: int) -> None:
    pixels = int(part.pixels.iloc[0])
    chance = {"topk": k / pixels, "spearman": 0.0}.get(metric)
    if chance is not None:
        axis.axhline(chance, color="0.35", linestyle="--", linewidth=1, label="chance")
    other = part[part.attack == "other_image"][metric]
    if len(other):
        axis.axhline(other.mean(), color="0.35", linestyle="-.", linewidth=1, label="map of another image")


def _paper_curves(axis, reported: dict, metric: str, method: str, positions: int) -> None:
    for attack, style in STYLE.items():
        values = np.array(reported[_REPORTED_METRIC[metric]][_REPORTED_METHOD[method]][_REPORTED_ATTACK[attack]][1:])
        values = 100 * values / REPORTED_WIDTH if metric == "center" else values
        axis.plot(values[:positions], linestyle=":", linewidth=1.2, color=style["color"],
                  label="paper, same colour" if attack == "topk" else None)


def _legend_below(figure: Figure, axis) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)


def validity(table: pd.DataFrame) -> Figure:
    """Two panels over epsilon: share of images with no valid iterate, and change of confidence."""
    attacked = table[table.epsilon > 0].assign(lost=lambda t: 100 * (1 - t.found.astype(float)),
                                               change=lambda t: 100 * t.confidence_change)
    methods, epsilons = list(dict.fromkeys(attacked.method)), sorted(attacked.epsilon.unique())
    figure, axes = plt.subplots(2, len(methods), figsize=(1 + 3.4 * len(methods), 4.8), squeeze=False,
                                sharex=True, sharey="row")
    labels = {"lost": "images that lose their label (%)", "change": "change of confidence\n(percentage points)"}
    for (column, label), row in zip(labels.items(), axes):
        for method, axis in zip(methods, row):
            _curves(axis, attacked[attacked.method == method], column, epsilons)
            axis.axhline(0, color="0.35", linewidth=0.8)
        row[0].set_ylabel(label)
    for method, top, bottom in zip(methods, axes[0], axes[-1]):
        top.set_title(NAMES[method])
        bottom.set_xticks(range(len(epsilons)), [f"{e:g}" for e in epsilons])
        bottom.set_xlabel("ε")
    _legend_below(figure, axes[0, 0])
    return figure


def map_rows(images: Tensor, maps: Tensor, titles: Sequence[Sequence[str]], columns: Sequence[str]) -> Figure:
    """Images and their maps in pairs: images (rows, columns, c, h, w) in [0, 1], maps (rows, columns, h, w).

    `titles[row][column]` stands over each image, `columns` over the pairs. Each map has its own scale.
    """
    rows, pairs = images.shape[:2]
    figure, axes = plt.subplots(rows, 2 * pairs, figsize=(1.55 * 2 * pairs, 1.85 * rows + 0.3), squeeze=False)
    for row in range(rows):
        for pair in range(pairs):
            left, right = axes[row, 2 * pair], axes[row, 2 * pair + 1]
            left.imshow(_picture(images[row, pair]), cmap="gray", vmin=0, vmax=1)
            right.imshow(maps[row, pair].cpu().numpy())
            left.set_title(titles[row][pair], fontsize=7.5)
            if row == 0:
                right.set_title(columns[pair], fontsize=7.5, fontweight="bold")
    for axis in axes.flat:
        axis.axis("off")
    return figure


def _picture(image: Tensor) -> np.ndarray:
    image = image.cpu().numpy()
    return image[0] if len(image) == 1 else image.transpose(1, 2, 0)



VERDICT_MARKS = {"reproduced": "✓", "partly": "◐", "not reproduced": "✗", "not tested here": "–"}


def ledger_table(ledger: pd.DataFrame) -> Styler:
    """Claims, one a row; a mark beside each verdict, so that it does not hang on colour."""
    def lines(text: str) -> str:
        return escape(text).replace("; ", "<br>")

    rows = [{"verdict": f"<b>{VERDICT_MARKS[row.verdict]} {row.verdict}</b><br>{row.scale} scale",
             "claim": f"<b>{row.id}</b>, {escape(row.figure)}<br>{escape(row.statement.strip())}",
             "the paper reports": lines(row.reported),
             "measured [95 % interval]": lines(row.measured_with_interval or row.reason)}
            for row in ledger.itertuples()]
    return plain_table(pd.DataFrame(rows))


def plain_table(table: pd.DataFrame) -> Styler:
    """A table without row numbers, its text set to the left and wrapped."""
    wrapped = [{"selector": "td, th", "props": "text-align: left; white-space: normal; vertical-align: top"}]
    return table.style.hide(axis="index").set_table_styles(wrapped).set_uuid("table").format(na_rep="")


def benchmark_table(measured: dict) -> Styler:
    """Ratios of the committed benchmark run, with what each compares."""
    rows = [{"benchmark": f"<b>{row['name']}</b><br>{escape(row['description'])}", "ratio": f"{row['ratio']:.2f}",
             "quartile range": f"{row['spread']:.2f}", "bar": f"{'≤' if row['at_most'] else '≥'} {row['bar']:g}",
             "": "✓" if row["passed"] else "✗ not reached", "seconds and settings": escape(row["note"])}
            for row in measured["benchmarks"]]
    return plain_table(pd.DataFrame(rows))


def benchmark_setting(measured: dict) -> Styler:
    """Versions, threads and date of the committed benchmark run."""
    setting = {name: value for name, value in measured.items() if name not in ("benchmarks", "versions")}
    rows = {**setting, **measured.get("versions", {})}
    return plain_table(pd.DataFrame({"what": list(rows), "value": [str(value) for value in rows.values()]}))


use_style()
