"""The published verdicts against an oracle of the ledger that was written from the claims' text alone."""

import json
import re
from functools import cache

import pytest

from tests.oracles import ledger, ledger_ghorbani, ledger_hooker, ledger_kamath, ledger_kindermans
from tests.oracles.records import RESULTS

CLAIMS = {**ledger_ghorbani.CLAIMS, **ledger_hooker.CLAIMS, **ledger_kamath.CLAIMS, **ledger_kindermans.CLAIMS}
PUBLISHED = json.loads((RESULTS / "verdicts.json").read_text())


@cache
def cells(claim):
    return CLAIMS[claim]()


def test_oracle_knows_every_claim_that_is_tested():
    assert set(PUBLISHED) - set(CLAIMS) == {"ghorbani-20", "hooker-1b", "hooker-1c", "kamath-11"}


@pytest.mark.parametrize("claim", CLAIMS)
def test_published_verdict_is_the_oracles(claim):
    entry = PUBLISHED[claim]
    assert (entry["verdict"], entry["support"]) == ledger.verdict(cells(claim))


@pytest.mark.parametrize("claim", CLAIMS)
def test_published_means_and_intervals_are_the_oracles(claim):
    """As text, three digits; in any order, since the oracle's cells bear other names."""
    number = r"-?[\d.]+(?:e[-+]\d+)?"
    printed = re.findall(rf"{number} \[{number}, {number}\]", PUBLISHED[claim]["measured"])
    assert sorted(printed) == sorted(f"{cell.mean:.3g} [{cell.low:.3g}, {cell.high:.3g}]"
                                     for cell in cells(claim).values())
