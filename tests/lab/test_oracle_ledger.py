"""The published verdicts against an oracle of the ledger that was written from the claims' text alone."""

import json
import re
from functools import cache

import pytest

from tests.oracles import (
    ledger,
    ledger_ghorbani,
    ledger_hooker,
    ledger_kamath,
    ledger_kindermans,
    ledger_scoreboard,
)
from tests.oracles.records import RESULTS

CLAIMS = {**ledger_ghorbani.CLAIMS, **ledger_hooker.CLAIMS, **ledger_kamath.CLAIMS, **ledger_kindermans.CLAIMS,
          **ledger_scoreboard.CLAIMS}
PUBLISHED = json.loads((RESULTS / "verdicts.json").read_text())


@cache
def cells(claim):
    return CLAIMS[claim]()


def test_oracle_knows_every_claim_that_is_tested():
    tested = {claim for claim, entry in PUBLISHED.items() if entry["verdict"] != "not tested here"}
    assert tested - set(CLAIMS) == set(), (
        "Write the cells of a new claim in tests/oracles/ledger_<paper>.py, from the claim's text alone.")


@pytest.mark.parametrize("claim", CLAIMS)
def test_published_verdict_is_the_oracles(claim):
    entry = PUBLISHED[claim]
    assert (entry["verdict"], entry["support"]) == ledger.verdict(cells(claim))


NUMBER = r"-?[\d.]+(?:e[-+]\d+)?"


@pytest.mark.parametrize("claim", CLAIMS)
def test_published_means_and_intervals_are_the_oracles(claim):
    """As text, three digits; in any order, since the oracle's cells bear other names. Intervals of random draws may
    differ by a little of their width."""
    printed = re.findall(rf"{NUMBER} \[{NUMBER}, {NUMBER}\]", PUBLISHED[claim]["measured"])
    found = list(cells(claim).values())
    if all(cell.exact for cell in found):
        assert sorted(printed) == sorted(f"{cell.mean:.3g} [{cell.low:.3g}, {cell.high:.3g}]" for cell in found)
        return
    numbers = sorted([float(one) for one in re.findall(NUMBER, text)] for text in printed)
    for (mean, low, high), cell in zip(numbers, sorted(found, key=lambda cell: cell.mean), strict=True):
        assert mean == pytest.approx(cell.mean, rel=0.005)
        assert (low, high) == pytest.approx((cell.low, cell.high), abs=0.06 * (cell.high - cell.low))
