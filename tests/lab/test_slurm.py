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
    one = Checkout(tmp_path_factory.mktemp("long"), SLOW, 0, 0, fails=(1,))
    one.start(*TRIAL)
    yield one
    one.clean()


@pytest.fixture
def checkout(tmp_path):
    """Makes the test's checkout, and ends what the test leaves."""
    made = []
    yield lambda *seconds, **more: made.append(Checkout(tmp_path, *seconds, **more)) or made[-1]
    for one in made:
        one.clean()


def cancel(jobs: list[str]) -> None:
    subprocess.run(["scancel", *jobs], check=True)


def values(checkout: Checkout) -> list[int]:
    return sorted(record.table.value[0] for record in checkout.store.records("trial"))


def test_a_chain_equals_a_serial_run_though_a_job_is_cancelled(checkout, tmp_path):
    one = checkout()
    run = one.start("cluster", "roar", *RUN, 0.05)
    cancel(until(one.jobs)[:1])
    for name in ("roar", "trainings"):              # and with roar the rankings that it reads
        one.lab("sweep", name, "--profile", "edition", store=tmp_path / "serial")
    assert "10 of 10 records of roar are there; 0 are missing" in one.end(run)
    assert "Trying to restart job" in one.log()
    serial = contents(Store(tmp_path / "serial"), *CHAIN)
    made = contents(one.store, *CHAIN)              # with what was made to measure the costs
    assert len(serial) == 16 and {key: made[key] for key in serial} == serial
    (record,) = one.runs()
    assert record["outcome"] == "finished" and {job["host"] for job in record["jobs"]} == {record["where"]}
    assert len({job["job"] for job in record["jobs"]}) == len(record["jobs"]) == record["chunks"]


def test_after_a_kill_the_same_command_cancels_orphans_and_goes_on(checkout):
    one = checkout(0, 300, 300, 0, planned=120)     # so that they are not out of time before they are found
    run = one.start(*TRIAL)
    until(lambda: len(values(one)) == 2 and len(one.jobs()) == 2)
    kill(run.pid, one.runs()[0]["engine"])
    run.wait(), run.stdout.close()
    one.tell(0, 0, 0, 0)
    orphans = one.jobs()
    assert len(orphans) == 2
    refused = one.lab(*TRIAL, code=1)
    assert "was killed, but 2 of its jobs" in refused and "Aborted" in refused and one.jobs() == orphans
    assert "4 of 4 records of trial are there" in one.lab(*TRIAL, "--yes")
    assert values(one) == [0, 2, 4, 6] and not one.jobs()
    assert [record["outcome"] for record in one.runs()] == ["killed", "finished"]
    assert one.runs()[1]["cells"] == 2              # what was finished was left out
    assert "Nothing is missing" in one.lab(*TRIAL)


def test_two_engines_on_one_store(checkout):
    one = checkout(1, 1, 2, 2)
    for run in [one.start(*TRIAL) for _ in range(2)]:
        assert "4 of 4 records of trial are there" in one.end(run)
    assert values(one) == [0, 2, 4, 6] and len(one.runs()) == 2


def test_an_interrupt_leaves_nothing_queued(checkout):
    one = checkout(0, *[200] * 5)
    run = one.start(*TRIAL)
    until(lambda: values(one) and len(one.jobs()) >= 4)
    run.send_signal(signal.SIGINT)
    assert "1 of 6 records of trial are there; 5 are missing" in one.end(run, code=1)
    until(lambda: not one.jobs(), 15)               # SLURM lets jobs die for some seconds
    assert one.runs()[0]["outcome"] == "interrupted"


def test_a_job_out_of_time_gets_more_and_a_bad_cell_stops_no_other(long_run):
    said = long_run.end(long_run.started[0], code=1)
    assert "2 of 3 records of trial are there; 1 are missing" in said and values(long_run) == [0, 4]
    (log,) = re.findall(r"Not finished: (.*)", said)
    assert "RuntimeError: told to fail" in Path(log).read_text()
    (slow,) = (job for job in long_run.runs()[0]["jobs"] if job["seconds"] >= SLOW)
    started = rf"output: marks/trial/{slow['id']}\n(?:    .*\n)*?    resources: .*runtime=(\d+)"
    assert re.findall(started, long_run.log()) == ["1", "2"]
    assert long_run.log().count("status is: 'TIMEOUT'") == 1
    assert long_run.runs()[0]["outcome"] == "incomplete"
