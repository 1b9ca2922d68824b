"""Jobs on a real SLURM: whatever is cancelled, killed, too slow or wrong, the store ends with the right records."""

import re
import signal
import subprocess
from pathlib import Path

import pytest

from lab.core.store import Store
from tests.lab import slurm
from tests.lab.checkout import Checkout, contents, kill, require_snakemake, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(slurm.lacking()), reason=slurm.lacking())]
CHAIN = ("trainings", "rankings", "roar")
RUN = ("--on", "slurm-fast", "--profile", "edition", "--minutes-per-job")
TRIAL = ("cluster", "trial", *RUN, 1e-9)            # a job a cell
SLOW = 95               # seconds: more than the minute that a job without a cost gets, less than the two of its retry


@pytest.fixture(scope="module", autouse=True)
def cluster():
    require_snakemake()
    with slurm.running():
        yield


@pytest.fixture(scope="module", autouse=True)
def long_run(cluster, tmp_path_factory):
    """A run with a cell that takes too long and one that fails, which waits while the others are tested."""
    checkout = Checkout(tmp_path_factory.mktemp("long"), SLOW, 0, 0, fails=(1,))
    return checkout, checkout.start(*TRIAL)


def cancel(jobs: list[str]) -> None:
    subprocess.run(["scancel", *jobs], check=True)


def values(checkout: Checkout) -> list[int]:
    return sorted(record.table.value[0] for record in checkout.store.records("trial"))


def test_a_chain_equals_a_serial_run_though_a_job_is_cancelled(tmp_path):
    checkout = Checkout(tmp_path)
    run = checkout.start("cluster", "roar", *RUN, 0.05)
    cancel(until(checkout.jobs)[:1])
    assert "10 of 10 records of roar are there; 0 are missing" in checkout.end(run)
    assert "Trying to restart job" in checkout.log()
    for name in CHAIN:
        checkout.lab("sweep", name, "--profile", "edition", store=tmp_path / "serial")
    serial = contents(Store(tmp_path / "serial"), *CHAIN)
    made = contents(checkout.store, *CHAIN)     # and what was made to measure the costs
    assert len(serial) == 16 and {key: made[key] for key in serial} == serial
    (record,) = checkout.runs()
    assert record["outcome"] == "finished" and {job["host"] for job in record["jobs"]} == {record["where"]}
    assert len({job["job"] for job in record["jobs"]}) == len(record["jobs"]) == record["chunks"]


def test_after_a_kill_the_same_command_cancels_orphans_and_goes_on(tmp_path):
    checkout = Checkout(tmp_path, 0, 0, 300, 300, 0, 0)
    run = checkout.start(*TRIAL)
    until(lambda: len(values(checkout)) == 4)
    until(lambda: len(checkout.jobs()) == 2)
    kill(run.pid, checkout.runs()[0]["engine"])
    run.wait(), run.stdout.close()
    checkout.tell(0, 0, 0, 0, 0, 0)
    orphans = checkout.jobs()
    assert len(orphans) == 2
    refused = checkout.lab(*TRIAL, code=1)
    assert "was killed, but 2 of its jobs" in refused and "Aborted" in refused and checkout.jobs() == orphans
    assert "6 of 6 records of trial are there" in checkout.lab(*TRIAL, "--yes")
    assert values(checkout) == [0, 2, 4, 6, 8, 10] and not checkout.jobs()
    assert [record["outcome"] for record in checkout.runs()] == ["killed", "finished"]
    assert checkout.runs()[1]["cells"] == 2         # what was finished was left out
    assert "Nothing is missing" in checkout.lab(*TRIAL)


def test_two_engines_on_one_store(tmp_path):
    checkout = Checkout(tmp_path, 1, 1, 2, 2)
    for run in [checkout.start(*TRIAL) for _ in range(2)]:
        assert "4 of 4 records of trial are there" in checkout.end(run)
    assert values(checkout) == [0, 2, 4, 6] and len(checkout.runs()) == 2


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing_queued(tmp_path, kind):
    checkout = Checkout(tmp_path, 0, *[200] * 5)
    run = checkout.start(*TRIAL)
    until(lambda: values(checkout) and len(checkout.jobs()) >= 4)
    run.send_signal(kind)
    assert "1 of 6 records of trial are there; 5 are missing" in checkout.end(run, code=1)
    until(lambda: not checkout.jobs(), 15)          # SLURM lets jobs die for some seconds
    assert checkout.runs()[0]["outcome"] == "interrupted"


def test_a_job_out_of_time_gets_more_and_a_bad_cell_stops_no_other(long_run):
    checkout, run = long_run
    said = checkout.end(run, code=1)
    assert "2 of 3 records of trial are there; 1 are missing" in said and values(checkout) == [0, 4]
    (log,) = re.findall(r"Not finished: (.*)", said)
    assert "RuntimeError: told to fail" in Path(log).read_text()
    (slow,) = (job for job in checkout.runs()[0]["jobs"] if job["seconds"] >= SLOW)
    started = rf"output: marks/trial/{slow['id']}\n(?:    .*\n)*?    resources: .*runtime=(\d+)"
    assert re.findall(started, checkout.log()) == ["1", "2"]
    assert checkout.log().count("status is: 'TIMEOUT'") == 1
    assert checkout.runs()[0]["outcome"] == "incomplete"
