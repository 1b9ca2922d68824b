"""The published verdicts against an oracle of the ledger that was written from the claims' text alone."""

import json

import pytest

from tests.oracles import ledger, ledger_ghorbani, ledger_hooker, ledger_kamath, ledger_kindermans

CLAIMS = {**ledger_ghorbani.CLAIMS, **ledger_hooker.CLAIMS, **ledger_kamath.CLAIMS, **ledger_kindermans.CLAIMS}


@pytest.fixture(scope="module")
def published():
    return json.loads((ledger.RESULTS / "verdicts.json").read_text())


@pytest.mark.parametrize("claim", CLAIMS)
def test_published_verdict_is_the_oracles(claim, published):
    entry = published[claim]
    assert (entry["verdict"], entry["support"]) == ledger.verdict(CLAIMS[claim]())
