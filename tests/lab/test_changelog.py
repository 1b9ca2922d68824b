"""The change log: what the claims tell is as the claims have it, and one version everywhere."""

import re

import pytest
import yaml

from fragility import __version__
from lab import changelog, verdicts
from lab.core import folders

TEXT = changelog.FILE.read_text()


def test_the_part_of_the_claims_is_up_to_date():
    assert changelog.renewed(TEXT) == TEXT, "run python -m lab claims --publish"


def test_every_change_of_a_test_is_in_it():
    changed = [claim["id"] for claim in verdicts.load() if claim.get("changes")]
    assert changed and all(f"`{name}`" in changelog.changed_tests() for name in changed)


def test_a_log_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="no part between"):
        changelog.renewed("# Changes")


def test_there_is_one_version():
    assert re.search(r"^## (\S+), ", TEXT, re.MULTILINE)[1] == __version__
    assert yaml.safe_load((folders.ROOT / "CITATION.cff").read_text())["version"] == __version__
