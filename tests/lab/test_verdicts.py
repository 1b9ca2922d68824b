"""Verdicts: decided by intervals over images, and by nothing else."""

import json
import re
from functools import cache

import numpy as np
import pandas as pd
import pytest

from lab import catalogue, verdicts
from lab.core import folders, results
from lab.core.statistics import bootstrap
from lab.core.store import Store
from lab.drawing.tables import KNOWN, LATER, VERDICT_MARKS, verdict_counts
from lab.evidence import CONTRADICTED, HOLDS, LABEL_KEPT, MIXED, SATURATED, UNDECIDED, UNTESTED, evaluate


def frame(**means) -> pd.DataFrame:
    """Fifty images a method and attack, spread 0.05 about the mean that is given as method_attack=mean."""
    noise = np.random.default_rng(0).normal(0, 0.05, 50)
    return pd.concat([pd.DataFrame({"image": range(50), "method": name.split("_")[0], "attack": name.split("_")[1],
                                    "epsilon": 0.3, "topk": mean + noise}) for name, mean in means.items()])


BELOW = {"column": "topk", "where": {"attack": "random", "epsilon": "largest"}, "below": 0.3, "each": ["method"]}


@pytest.mark.parametrize("means, verdict", [
    ({"a_random": 0.1, "b_random": 0.2}, HOLDS), ({"a_random": 0.1, "b_random": 0.5}, MIXED),
    ({"a_random": 0.4, "b_random": 0.5}, CONTRADICTED), ({"a_random": 0.3, "b_random": 0.3}, UNDECIDED),
    ({"a_random": 0.1, "b_random": 0.3}, UNDECIDED), ({"a_random": 0.4, "b_random": 0.3}, CONTRADICTED)])
def test_a_bound(means, verdict):
    assert evaluate(BELOW, frame(**means)).verdict == verdict


def test_an_open_cell_says_how_many_images_would_decide():
    judged = evaluate(BELOW, frame(a_random=0.1, b_random=0.295))
    assert judged.verdict == UNDECIDED and "; n = 50 images" in judged.measured_with_interval
    wanted = re.search(r"b: .*open, about ([\d,]+) images would decide", judged.measured_with_interval)
    table = frame(b_random=0.295)
    both = 2.2414 + 0.8416       # quantiles of half of 5 % on two sides, and of a power of 80 %
    expected = (both * table.topk.std() / (0.3 - table.topk.mean())) ** 2
    assert int(wanted[1].replace(",", "")) == pytest.approx(expected, rel=0.002)
    exactly = evaluate(BELOW, frame(a_random=0.3).assign(topk=lambda t: t.topk - t.topk.mean() + 0.3))
    assert "more than 10,000 images would decide" in exactly.measured_with_interval


def test_size_is_the_papers_number_against_our_interval():
    table = frame(a_random=0.1, b_random=0.2, c_random=0.25)
    near = table[table.method == "a"].topk.mean() + 0.001
    judged = evaluate(BELOW, table, {"a": near, "b": 0.4, "c": -0.1, "d": 1.0})
    ours = [table[table.method == name].topk.mean() for name in "bc"]
    assert judged.size == (f"1 of 3 numbers of the paper in our interval; b: ours {ours[0] / 0.4:.2g} times theirs; "
                           f"c: ours {ours[1]:.2g}, theirs -0.1")
    assert evaluate(BELOW, table).size == ""


@pytest.mark.parametrize("placebo, tells", [(0.1, "1 cell: 1 for, 0 against, so the test cannot tell"),
                                            (0.5, "1 cell: 0 for, 1 against, so it can tell, in part")])
def test_a_placebo_that_passes_the_test_shows_that_it_cannot_tell(placebo, tells):
    table = frame(a_random=0.1, a_other=placebo)
    table.attrs.update(done=1, cells=1)
    claim = {"experiment": "", "test": BELOW, "scale": "quick", "caveat": "few images",
             "placebo": {"of": "another image", "where": {"attack": "other"}}}
    judged = verdicts.judge(claim, "quick", lambda experiment, scale: results.Measured(table, frozenset("a")))
    assert judged.caveat == f"few images; the same test of another image: {tells}" and judged.verdict == HOLDS
    assert judged.tells == (verdicts.CANNOT if placebo < 0.3 else verdicts.IN_PART)


def test_a_placebo_may_be_of_other_records_and_units():
    """`nested: null` takes a part out of the test."""
    seeds = frame(a_random=0.1).assign(seed=lambda t: t.image % 5)
    tables = {"one": seeds, "other": frame(a_other=0.1)}
    for table in tables.values():
        table.attrs.update(done=1, cells=1)
    claim = {"experiment": "one", "test": {**BELOW, "over": "seed", "nested": "image"}, "scale": "quick",
             "placebo": {"of": "it", "experiment": "other", "where": {"attack": "other"}, "over": "image",
                         "nested": None}}
    judged = verdicts.judge(claim, "quick", lambda name, scale: results.Measured(tables[name], frozenset("a")))
    assert judged.verdict == HOLDS and judged.tells == verdicts.CANNOT
    assert "n = 5 seeds" in judged.measured_with_interval


def test_a_theorem_is_called_one():
    table = frame(a_random=0.1)
    table.attrs.update(done=1, cells=1)
    claim = {"experiment": "", "test": BELOW, "scale": "quick", "theorem": "it was proved"}
    judged = verdicts.judge(claim, "quick", lambda experiment, scale: results.Measured(table, frozenset("a")))
    assert (judged.tells, judged.caveat, judged.verdict) == (verdicts.THEOREM, "it was proved", HOLDS)


def test_a_family_of_cells_is_held_to_one_level():
    """Each of twelve cells would be clear by itself, at p = 0.03; together none is."""
    names = [f"{letter}_random" for letter in "abcdefghijkl"]
    table = frame(**dict.fromkeys(names, 0.0))
    spread = table.topk.std() / 50**0.5
    table["topk"] += 0.3 - 2.23 * spread - table.groupby("method").topk.transform("mean")
    assert evaluate(BELOW, table[table.method == "a"]).verdict == HOLDS
    assert evaluate(BELOW, table).support == "12 cells: 0 for, 0 against"


def test_scores_at_their_end_on_both_sides_are_saturated():
    test = {"column": "topk", "larger": {"attack": "random"}, "smaller": {"attack": "topk"}, "each": ["method"]}
    table = pd.concat([frame(a_random=0, a_topk=0).assign(topk=1.0), frame(b_random=0.9, b_topk=0.1)])
    judged = evaluate(test, table)
    assert judged.verdict == UNDECIDED and "a: 0 [0, 0] (saturated)" in judged.measured_with_interval
    assert evaluate(test, table[table.method == "a"]).verdict == SATURATED
    # Equal differences of scores that vary are no saturation: a claimed margin is missed.
    assert evaluate({**test, "margin": 0.1}, frame(a_random=0.5, a_topk=0.5)).verdict == CONTRADICTED


def test_saturated_cells_are_counted_and_are_no_tests_of_the_family():
    """p = 0.03 decides one cell alone, and not one of four; cells that cannot differ make it no harder."""
    test = {"column": "topk", "larger": {"attack": "random"}, "smaller": {"attack": "topk"}, "each": ["method"]}
    stuck = [frame(**{f"{name}_random": 0, f"{name}_topk": 0}).assign(topk=1.0) for name in "cde"]
    random = frame(b_random=0.0)
    random["topk"] += 2.23 * random.topk.std() / 50**0.5 - random.topk.mean()
    judged = evaluate(test, pd.concat([random, random.assign(attack="topk", topk=0.0), *stuck]))
    assert judged.verdict == UNDECIDED and judged.support == "4 cells: 1 for, 0 against, 3 saturated"


def test_images_that_lost_their_label_are_left_out_and_shown():
    """Both numbers: with the condition on labels, and without."""
    table = frame(a_random=0.1, b_random=0.1)
    table["found"] = np.where((table.method == "a") & (table.image < 5), 0.0, 1.0)
    table.loc[table.found == 0, "topk"] = 1.0
    judged = evaluate({**BELOW, "where": {**BELOW["where"], "found": 1.0}}, table)
    everyone = evaluate(BELOW, table)
    assert "n = 45 images" in judged.measured_with_interval
    assert judged.lost == ("with those that lost their label: 2 cells: 2 for, 0 against; "
                           + everyone.measured_with_interval.split("; ")[0] + ", n = 50 images")
    assert everyone.lost == "" and evaluate({**BELOW, "where": {**BELOW["where"], "found": 1.0}},
                                            table[table.method == "b"]).lost == ""


#: Rows that no attack or noise perturbed, and claims of the metrics themselves, which hold of any pair of maps.
UNPERTURBED = {"other_image", "other_class", "same_class"}
OF_ANY_MAPS = {"kamath-12", "kamath-12b"}


def test_one_rule_for_lost_labels_holds_in_every_claim():
    """Wherever the records say which perturbed images lost their label, the test leaves these out; those of the audit's
    attacks have no score."""
    board = results.measured(catalogue.experiment("scoreboard"), "edition", None)
    assert board.score[board.found == 0].isna().all() and (board.found == 0).any()

    @cache
    def columns(experiment):
        return set(results.measured(catalogue.experiment(experiment), "edition", None))

    for claim in verdicts.load():
        if "test" not in claim or claim["id"] in OF_ANY_MAPS or claim["experiment"] == "scoreboard":
            continue
        column = next((name for name in LABEL_KEPT if name in columns(claim["experiment"])), None)
        sides = [claim["test"][name] for name in ("where", "larger", "smaller") if name in claim["test"]]
        for side in [*sides, *claim["test"].get("between", [])] if column else ():
            assert column in side or side.get("attack") in UNPERTURBED, (claim["id"], side)


def test_an_open_cell_says_what_deciding_it_would_cost():
    table = frame(b_random=0.3).assign(record="r", topk=lambda t: t.topk - t.topk.mean() + 0.295)
    judged = evaluate(BELOW, table, seconds=lambda: {"r": 180_000})      # an hour an image
    said = re.search(r"open, about ([\d,]+) images, ([\d,.]+) h more, would", judged.measured_with_interval)
    wanted, hours = said.groups()
    assert float(hours) == int(wanted) - 50
    exactly = table.assign(topk=table.topk - table.topk.mean() + 0.3)
    assert "more than 10,000 images, over 9,950 h more, would decide" in evaluate(
        BELOW, exactly, seconds=lambda: {"r": 180_000}).measured_with_interval


def test_the_cost_of_a_seed_has_its_training_and_that_of_an_image_has_not():
    seconds = {record.key: record.about["seconds"] for record in results.published(catalogue.experiment("repeats"))}
    images, seeds = (verdicts._with_sources("repeats", seconds, trainings) for trainings in (False, True))
    trained = {record.key: record for record in results.published(catalogue.experiment("robust"))}
    some = 0
    for record in results.published(catalogue.experiment("repeats")):
        one, training = record.key, trained.get(record.about["fingerprints"]["weights"])
        assert images[one] == seconds[one]
        assert seeds[one] >= seconds[one] + (training.about["seconds"] if training else 0)
        some += training is not None
    assert some > 20
    scored = next(iter(results.published(catalogue.experiment("attacked"))))
    attacked = {record.key: record for record in results.published(catalogue.experiment("fragility"))}
    assert verdicts._with_sources("attacked", {}, False)[scored.key] == pytest.approx(
        scored.about["seconds"] + attacked[scored.about["fingerprints"]["attacked"]].about["seconds"])


def test_the_ledger_says_whose_training_an_interval_over_images_is_of():
    ledger = verdicts.ledger("edition").set_index("id").measured_with_interval
    assert "; of this network" in ledger["ghorbani-3"] and "; of one training of each network" in ledger["kamath-2"]
    assert not re.search("of this|of one", ledger["kamath-10"] + ledger["hooker-2"] + ledger["ghorbani-18"])


def test_cells_that_a_comparison_asks_for_and_lacks_are_named():
    test = {"column": "topk", "larger": {"attack": "random"}, "smaller": {}, "one_of": {"attack": ["topk", "lens"]},
            "each": ["method"]}
    judged = evaluate(test, frame(a_random=0.9, a_topk=0.1, b_random=0.9, b_topk=0.1))
    assert judged.missing == "lens a; lens b" and judged.verdict == HOLDS


def test_every_undecided_claim_says_what_would_decide_it():
    ledger = verdicts.ledger("edition").set_index("id")
    for name, row in ledger[ledger.verdict == UNDECIDED].iterrows():
        opened = [part for part in row.measured_with_interval.split("; ") if "(open" in part]
        assert opened and all(re.search(r"[\d,]+ (images|seeds), (over )?[\d,.]+ h more, would", part)
                              for part in opened), name


def test_cells_for_and_against_are_counted_and_an_open_one_is_neither():
    judged = evaluate(BELOW, frame(a_random=0.1, b_random=0.2, c_random=0.5, d_random=0.3))
    assert judged.support == "4 cells: 2 for, 1 against"


def test_an_image_with_several_rows_counts_once():
    once = frame(a_random=0.2)
    assert evaluate(BELOW, pd.concat([once] * 4)).interval == evaluate(BELOW, once).interval


def test_a_column_may_be_the_difference_of_two():
    table = frame(a_random=0.2).assign(chance=0.15)
    judged = evaluate({**BELOW, "column": "topk - chance"}, table)
    assert judged.measured == f"a: {(table.topk - 0.15).mean():.3g}"


@pytest.mark.parametrize("gap, verdict", [(0.2, HOLDS), (-0.2, CONTRADICTED), (0.0, CONTRADICTED)])
def test_an_ordering_with_a_margin(gap, verdict):
    test = {"column": "topk", "larger": {"attack": "random"}, "smaller": {"attack": "topk"}, "margin": 0.03}
    judged = evaluate(test, frame(a_topk=0.3, a_random=0.3 + gap))
    assert judged.verdict == verdict
    assert judged.measured == f"{gap:.3g}".replace("-0", "-0") or abs(float(judged.measured) - gap) < 1e-9


@pytest.mark.parametrize("gap, verdict", [(0.005, HOLDS), (0.2, CONTRADICTED)])
def test_an_equality(gap, verdict):
    test = {"column": "topk", "between": [{"attack": "random"}, {"attack": "topk"}], "within": 0.02}
    assert evaluate(test, frame(a_topk=0.3, a_random=0.3 + gap)).verdict == verdict


def test_bootstrap_interval_covers_the_mean_and_shrinks():
    values = np.random.default_rng(1).normal(0.5, 0.1, 400)
    low, high = bootstrap(values)
    assert low < values.mean() < high and high - low == pytest.approx(4 * 0.1 / 20, rel=0.15)


def test_cells_that_are_not_there_are_not_tested():
    assert evaluate(BELOW, frame(a_topk=0.1)).verdict == UNTESTED


@pytest.mark.parametrize("found, scale", [
    ({"edition": "ab", "paper": "abc"}, "paper"), ({"edition": "abc", "paper": "ab"}, "edition"),
    ({"edition": "ab", "paper": "ab"}, "paper"), ({"edition": "abc", "paper": "d"}, "paper"),
    ({"edition": "", "paper": ""}, "quick")])
def test_a_scale_with_a_part_of_a_smaller_ones_records_is_passed_over(found, scale):
    def measured_cells(experiment, wanted):
        cells = {"quick": "x", **found}[wanted]
        table = frame(a_random=0.1) if cells else pd.DataFrame()
        table.attrs.update(done=len(cells), cells=3)
        return results.Measured(table, frozenset(cells))

    assert verdicts.judge({"experiment": "", "test": BELOW, "scale": "quick"}, "quick", measured_cells).scale == scale


def test_one_value_on_the_wrong_side_breaks_a_rule_without_exceptions():
    rule = {"column": "topk", "where": {}, "of": "smallest", "above": 0.0}
    values = frame(a_random=0.5)
    assert evaluate(rule, values).verdict == HOLDS
    assert evaluate(rule, values.assign(topk=[*values.topk[:-1], -0.01])).verdict == CONTRADICTED


def test_places_are_those_of_the_whole_group():
    """Neither a group with one size nor the sizes that one attack happens to have decide what 'largest' means."""
    sizes = pd.concat([frame(a_random=0.1).assign(epsilon=0.1), frame(a_random=0.2, b_random=0.4)])
    second = {**BELOW, "where": {"attack": "random", "epsilon": "second smallest"}}
    assert evaluate(second, sizes).measured.startswith("a: 0.2") and ";" not in evaluate(second, sizes).measured
    missing = pd.concat([sizes[sizes.method == "a"], frame(a_topk=0.1).assign(epsilon=0.1)])
    largest = {"column": "topk", "where": {"attack": "topk", "epsilon": "largest"}, "below": 0.3, "each": ["method"]}
    assert evaluate(largest, missing).verdict == UNTESTED


def test_the_ledger_without_records_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "published", lambda experiment: [])
    ledger = verdicts.ledger("quick", Store(tmp_path))
    assert set(ledger.verdict) == {UNTESTED} and ledger.reason.str.len().min() > 10


def test_the_published_ledger_says_why_wherever_it_has_no_verdict():
    ledger = verdicts.ledger("edition")
    assert ledger.id.is_unique and set(ledger.verdict) <= set(VERDICT_MARKS)
    untested = ledger.verdict == UNTESTED
    assert (ledger[untested].reason != "").all() and (ledger[~untested].interval != "").all() and (~untested).any()


def test_published_verdicts_are_those_of_todays_tests_and_records():
    """`python -m lab claims --publish` writes them; it asks for an entry where a test was changed."""
    published = json.loads((folders.RESULTS / "verdicts.json").read_text())
    digests = {one["id"]: verdicts.test_digest(one) if "test" in one else None for one in verdicts.load()}
    assert {name: one["test"] for name, one in published.items()} == digests
    ledger = verdicts.ledger("edition").set_index("id")
    ledger["measured"] = ledger.measured_with_interval
    for column in ("verdict", "tells", "lost", "support", "control", "scale", "measured"):
        assert {name: one[column] for name, one in published.items()} == ledger[column].to_dict(), column


def test_a_changed_test_needs_an_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "RESULTS", tmp_path)
    claim = {"id": "x-1", "paper": "p", "statement": "s", "figure": "f", "reported": "r", "experiment": "kittens",
             "test": {"column": "topk", "where": {}, "above": 0.0}, "scale": "quick"}
    monkeypatch.setattr(verdicts, "load", lambda: [claim])
    assert verdicts.publish() == {"x-1": (None, UNTESTED)} and verdicts.publish() == {}
    claim["test"] = {**claim["test"], "above": 1.0}
    with pytest.raises(ValueError, match="The test of x-1 has changed") as refused:
        verdicts.publish()
    digest = re.search(r"test: (\w{12})", str(refused.value))[1]
    change = {"date": "2026-12-01", "before": "above 0", "after": "above 1", "why": "of a typo", "seen": True}
    claim["changes"] = [{**change, "test": digest}]
    verdicts.publish()
    assert json.loads((tmp_path / "verdicts.json").read_text())["x-1"]["test"] == digest
    assert verdicts.ledger("edition").changes[0] == ("2026-12-01, after data were seen: from above 0 to above 1, since "
                                                     "of a typo")


def test_controls_are_counted_apart_from_the_papers():
    ledger = verdicts.ledger("edition")
    counts = verdict_counts(ledger).data.set_index("")
    control = ledger.id.str.endswith("-control")
    assert list(ledger.control) == list(control)
    assert counts.loc["controls"].sum() == control.sum() > 0
    ours = ledger.paper == verdicts.OURS
    assert counts.loc["predictions of this book"].sum() == ours.sum() > 0
    later = ~control & ledger.paper.isin(LATER)
    assert counts.loc["later papers"].sum() == later.sum() > 0
    assert counts.loc["all papers"].sum() == (~control & ~ours & ~later).sum() == counts.iloc[:4].to_numpy().sum()
    hooker = ledger[~control & (ledger.paper == "hooker2019")].verdict
    assert counts.loc["Hooker et al. (2019)", "◐ mixed"] == (hooker == MIXED).sum()


def test_claims_are_complete_and_their_experiments_exist():
    loaded = verdicts.load()
    assert len({claim["id"] for claim in loaded}) == len(loaded) >= 9
    tested = [claim for claim in loaded if "untested" not in claim]
    assert all(claim["experiment"] in catalogue.EXPERIMENTS for claim in tested)
    kinds = [sum(kind in claim["test"] for kind in ("where", "larger", "between")) for claim in tested]
    assert set(kinds) == {1} and {claim.get("known", "none") for claim in loaded} <= set(KNOWN)


def test_over_seeds_two_sides_are_paired_by_image_first():
    """Images are of unlike difficulty, and each side judges others: means of all would differ, though no image does."""
    hard = {0: 0.1, 1: 0.2, 2: 0.9, 3: 0.8}
    rows = [{"training": training, "seed": seed, "image": image, "topk": hard[image] + 0.01 * seed + gain}
            for training, gain, images in (("pgd", 0.0, (0, 1, 2)), ("fine", 0.05, (1, 2, 3)))
            for seed in range(3) for image in images]
    test = {"column": "topk", "larger": {"training": "fine"}, "smaller": {"training": "pgd"}, "over": "seed",
            "nested": "image"}
    judged = evaluate(test, pd.DataFrame(rows))
    assert judged.measured == "0.05" and judged.verdict == HOLDS and "n = 3 seeds" in judged.measured_with_interval
