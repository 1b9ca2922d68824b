"""A real SLURM on this machine alone, for tests: brought up as root, taken down by process number."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
CONF = Path("/etc/slurm/slurm.conf")        # Snakemake's executor strips SLURM_CONF from jobs
SETTINGS = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """Why SLURM cannot be brought up here; empty where it can."""
    if not os.environ.get("FRAGILITY_SLURM"):
        return "SLURM is not brought up: its daemons run as root, so set FRAGILITY_SLURM=1 to have it tested here"
    if absent := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"SLURM cannot be brought up: {', '.join(absent)} not installed"
    if os.geteuid():
        return "SLURM cannot be brought up: only root can start its daemons"
    return f"SLURM is not brought up: this machine has a {CONF} already" if CONF.exists() else ""


@contextmanager
def running() -> Iterator[None]:
    """SLURM with one idle node of four processors, which may be more than there are: tests mostly sleep."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o711)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(SETTINGS.format(host=socket.gethostname(), folder=folder))
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log",
             "seed-file": "munge.seed"}
    daemons = [["munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in files.items())],
               ["slurmctld", "-D", "-i"], ["slurmd", "-D"]]
    started = []
    try:
        for command in daemons:
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(1)
        _wait_until_idle(folder)
        yield
    finally:
        subprocess.run(["scancel", "--user=root"], capture_output=True)
        time.sleep(5)               # as long as jobs may take to die
        for daemon in started[::-1]:
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        CONF.unlink()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_idle(folder: Path) -> None:
    for _ in range(60):
        if subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(file.read_text()[-1500:] for file in folder.glob("*.log"))
    raise RuntimeError(f"SLURM does not become idle:\n{logs}")


def jobs(names: tuple[str, ...]) -> list[str]:
    """Numbers of the jobs that are queued or running under names that begin so, in order.

    SLURM shows them in no order that one could rely on.
    """
    shown = subprocess.run(["squeue", "-h", "-o", "%i %j"], capture_output=True, text=True, check=True).stdout
    return sorted((line.split()[0] for line in shown.splitlines() if line.split()[1].startswith(names)), key=int)
