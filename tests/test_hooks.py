"""What runs before a commit and what continuous integration runs are the same commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
LINT = re.search(r"^lint:.*?\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def hooks() -> dict[str, str]:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    return {hook["id"]: hook["entry"] for repository in config["repos"] for hook in repository["hooks"]}


def test_hooks_are_the_commands_of_make_lint_and_a_test():
    assert {repository["repo"] for repository in
            yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]} == {"local"}
    lines = [line.strip().replace("$(BIN)", ".venv/bin") for line in LINT.splitlines()]
    entries = hooks()
    assert all(any(line.startswith(entry) for line in lines) for name, entry in entries.items() if name != "notebooks")
    assert len(lines) == len(entries) - 1 and (ROOT / entries["notebooks"].split()[-1]).is_file()


def test_workflows_run_the_two_commands_on_every_python_that_is_allowed():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())["jobs"]
    runs = [step["run"] for step in jobs["commands"]["steps"] if "run" in step]
    assert runs == ["make book", "make test"]
    allowed = re.search(r'requires-python = "(.*)"', (ROOT / "pyproject.toml").read_text())[1]
    versions = jobs["commands"]["strategy"]["matrix"]["python"]
    assert all(version in SpecifierSet(allowed) for version in versions) and versions[0] == allowed.removeprefix(">=")


def test_workflows_keep_to_their_schema():
    """That of GitHub, which comes with check-jsonschema; and each says what it may do, and for how long."""
    assert len(WORKFLOWS) == 2
    for file in WORKFLOWS:
        found = yaml.safe_load(file.read_text())
        assert {"name", True, "jobs", "permissions"} <= found.keys()         # YAML 1.1 reads `on` as true
        assert all("timeout-minutes" in job or "needs" in job for job in found["jobs"].values())
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", "-o", "json", "--builtin-schema",
                           "vendor.github-workflows", *WORKFLOWS], capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout)["status"] == "ok", done.stdout + done.stderr
