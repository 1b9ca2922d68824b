"""The answer in words: what to use, what nothing survives, and how many images would tell two methods apart."""

import numpy as np

from fragility.audit.report import Report
from fragility.audit.verdicts import FAIL, NOT_JUDGED, PASS, UNDECIDED, Result, images_needed, interval

OTHER = "another image"         # the control of noise


def sentences(report: Report) -> list[str]:
    """A few sentences that a reader who looks at nothing else can act on."""
    names = [name for name, one in report.methods.items() if not one["control"] and not one["refused"]]
    judged = [each.name for each in report.criteria if each.margin is not None]
    words = {(one.method, one.criterion): one.verdict for one in report.verdicts}
    found = [_best(names, judged, words), _uses(names, judged, words), *_nobody(names, judged, words)]
    found += _cheats(report, judged, words)
    found += [_same_places(report, names), _separated(report, names, words), _undecided(report, names)]
    refused = [name for name, one in report.methods.items() if one["refused"]]
    if refused:
        found.append(f"This model is refused by {_list(refused)}.")
    return [sentence for sentence in found if sentence]


def _best(names: list[str], judged: list[str], words: dict) -> str:
    """Which methods pass most tests, what they fail, and what they were not judged by."""
    def those(name: str, word: str) -> list[str]:
        return [each for each in judged if words.get((name, each)) == word]
    def rank(name: str) -> tuple[int, int]:
        return -len(those(name, PASS)), len(those(name, FAIL))
    if not names or not judged:
        return ""
    best = [name for name in names if rank(name) == min(map(rank, names))]
    count = f"{len(those(best[0], PASS))} of {len(judged)} questions"
    if not those(best[0], PASS):
        return "No map passes any of the questions."
    if len(best) > 1:
        return f"Most is passed by {_list(best)}: {count} each."
    failed, left = those(best[0], FAIL), [*those(best[0], UNDECIDED), *those(best[0], NOT_JUDGED)]
    parts = [f"{best[0]} passes most, {count}: {_list(those(best[0], PASS))}"]
    parts += [f"it fails {_list(failed)}"] if failed else []
    parts += [f"{_list(left)} {'is' if len(left) == 1 else 'are'} open or not judged"] if left else []
    return "; ".join(parts) + "."


#: What a map is looked at for, and the questions that it must pass for that.
USES = {"to find what the network needs": ("removal",),
        "to explain this class of this network": ("parameters", "class"),
        "where anyone may choose the image, as far as this attack goes": ("attack",),
        "where inputs may be encoded otherwise": ("shift",)}


def _uses(names: list[str], judged: list[str], words: dict) -> str:
    """Which maps to use for what, of the purposes whose questions were asked."""
    fit = {use: [name for name in names if all(words.get((name, each)) == PASS for each in questions)]
           for use, questions in USES.items() if set(questions) <= set(judged)}
    if not fit or not names:
        return ""
    if not any(fit.values()):
        return f"What to use: none of these maps, {_list(list(fit))}."
    parts = [f"{use}, {_list(those) or 'none of these maps'}" for use, those in fit.items()]
    return f"What to use: {'; '.join(parts)}."


def _nobody(names: list[str], judged: list[str], words: dict) -> list[str]:
    """Criteria that all fail, and that all pass, of the methods that they judge."""
    said = []
    for word, sentence in ((FAIL, "None of the maps passes {}."), (PASS, "All of the maps pass {}.")):
        all_of = []
        for each in judged:
            seen = [words[name, each] for name in names if words.get((name, each), NOT_JUDGED) != NOT_JUDGED]
            if set(seen) == {word} and len(seen) > 1:
                all_of.append(each if len(seen) == len(names) else f"{each} ({len(seen)} of {len(names)} judged)")
        if all_of:
            said.append(sentence.format(_list(all_of)))
    return said


def _cheats(report: Report, judged: list[str], words: dict) -> list[str]:
    """What passes without looking at the network, and what gives it away: passing the former alone is no evidence."""
    said = []
    for name, one in report.methods.items():
        passed = [each for each in judged if words.get((name, each)) == PASS]
        failed = [each for each in judged if words.get((name, each)) == FAIL]
        if one["control"] and passed:
            what = "The edge detector sobel" if name == "sobel" else "The random map" if name == "random" else name
            said.append(f"{what}, which does not know the network, passes {_list(passed)}"
                        + (f" and fails {_list(failed)}" if failed else "")
                        + f": passing {'that' if len(passed) == 1 else 'those'} alone is no evidence.")
    return said


def _same_places(report: Report, names: list[str]) -> str:
    """Whether maps of different images mark the same pixels: images are aligned, or a network looks at one place."""
    shared = [float(np.nanmean(one.controls[OTHER])) for name in names
              if (one := report.results.get((name, "noise"))) is not None and not one.refused
              and OTHER in one.controls and not np.isnan(one.controls[OTHER]).all()]
    if not shared or np.median(shared) < 0.5:
        return ""
    return (f"The maps of different images mark the same places ({np.median(shared):.0%} of the top pixels): "
            "the images are aligned, or the network looks at one place. See the pictures.")


def _separated(report: Report, names: list[str], words: dict) -> str:
    """The two methods that removal finds best, where one of them passes: whether they differ, or how many images would
    tell."""
    results = {name: one for name in names if (one := report.results.get((name, "removal"))) is not None}
    scored = sorted(((float(np.nanmean(one.score)), name) for name, one in results.items()
                     if not one.refused and not np.isnan(one.score).all()), reverse=True)
    if len(scored) < 2 or all(words.get((name, "removal")) != PASS for _, name in scored[:2]):
        return ""
    best, second = scored[0][1], scored[1][1]
    differences = _paired(results[best], results[second])
    if len(differences) < 2:
        return ""
    mean, low, high = interval(differences)
    if low > 0:
        return (f"By removal {best} finds more of what the network needs than {second}: {mean:.2g} [{low:.2g}, "
                f"{high:.2g}].")
    needed = images_needed(mean, float(np.std(differences, ddof=1)), 0.0)
    if needed is None:
        return f"By removal {best} and {second} find the same."
    more = max(1, needed - len(differences))
    which = "1 more image" if more == 1 else f"{more:,} more images"
    return f"By removal {best} is ahead of {second}, but not for certain; {which} would tell."


def _paired(one: Result, other: Result) -> np.ndarray:
    """Differences of the scores of the images that both have."""
    _, first, second = np.intersect1d(one.images, other.images, return_indices=True)
    differences = one.score[first] - other.score[second]
    return differences[~np.isnan(differences)]


def _undecided(report: Report, names: list[str]) -> str:
    still = [one for one in report.verdicts if one.verdict == UNDECIDED and one.method in names]
    if not still:
        return ""
    needed = [one.needed for one in still if one.needed]
    count = f"{len(still)} {'verdict is' if len(still) == 1 else 'verdicts are'} undecided"
    which = "it" if len(still) == 1 else "those that can be"
    return f"{count}; {max(needed):,} images would decide {which}." if needed else f"{count}."


def _list(names: list[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
