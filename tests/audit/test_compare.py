"""What changed since a baseline, beyond what the command's tests say of exit codes."""

import torch

from fragility import audit
from fragility.audit import compare
from tests import networks


def report(**options):
    net = networks.build(networks.plain, dtype=torch.float32)
    return audit.run(net, networks.images(6, dtype=torch.float32), name="net", progress=False, attacked=2, steps=2,
                     **{"methods": ["gradient", "lrp"], "criteria": ["noise", "shift"], **options})


def test_the_same_audit_twice_changes_nothing():
    again = report()
    compare.with_baseline(again, report().to_dict())
    assert {one["change"] for one in again.compared} == {"same"} and again.notices == report().notices
    assert {(one["method"], one["criterion"]) for one in again.compared} == {
        (one.method, one.criterion) for one in again.verdicts if one.verdict != "not judged"}


def test_what_was_judged_and_is_not_any_more_is_named():
    now = report(methods="gradient", criteria="noise")
    compare.with_baseline(now, report().to_dict())
    *_, notice = now.notices
    assert notice.startswith("Judged in the baseline and not now: ")
    assert "lrp: noise" in notice and "gradient: shift" in notice and "gradient: noise" not in notice


def test_other_settings_are_named():
    now = report(epsilon=4 / 255)
    compare.with_baseline(now, report().to_dict())
    assert [one for one in now.notices if "The baseline was measured with epsilon = 0.0313" in one]
