"""A harness command as an MPIJob of Kubeflow's MPI operator (kubeflow.org/v2beta1): pure text, and one place that hands it over.

The operator starts workers that wait for ssh, and a launcher whose mpirun finds them by a host file it mounts. The fields
were checked against the operator's CRD, manifests/base/kubeflow.org_mpijobs.yaml of github.com/kubeflow/mpi-operator
at commit 013fa15b22a60180c99f5111a904b60099828f89.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from harness.errors import UsageError
from harness.names.variables import THREADS

__all__ = ["Pods", "manifest", "name_of", "render", "submit"]

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # RFC 1123
LONGEST = 50  # of 63: the operator appends -launcher and -worker-N
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?([KMGTPE]i?|[mk])?")
MOUNT = "/work"
HARNESS = "/opt/harness/.venv/bin/harness"  # of launch/Dockerfile


@dataclass(frozen=True)
class Pods:
    """Where and with what ranks run.

    Attributes:
      image: container image, as launch/Dockerfile makes it.
      workers, ranks_per_worker: pods, and ranks in each.
      cpus, gpus: of each rank; memory of each worker, as Kubernetes writes it.
      claim: PersistentVolumeClaim that all pods mount at /work: job, data and runs lie there.
      namespace: None is kubectl's own.
      retries: how often the job goes on, with --resume, after a failure.
    """

    image: str
    workers: int = 1
    ranks_per_worker: int = 1
    cpus: int = 1
    gpus: int = 0
    memory: str = "8Gi"
    claim: str | None = None
    namespace: str | None = None
    retries: int = 0

    def __post_init__(self) -> None:
        if not self.image or self.image.startswith("-") or any(c.isspace() for c in self.image):
            raise UsageError(f"--image {self.image!r}: expected the name of a container image, as in registry/harness:0.1")
        if not QUANTITY.fullmatch(self.memory):
            raise UsageError(f"--memory {self.memory}: expected a quantity as Kubernetes writes it, as in 8Gi")
        for option, text in (("--claim", self.claim), ("--namespace", self.namespace)):
            if text is not None and not NAME.fullmatch(text):
                raise UsageError(f"{option} {text!r}: expected lower-case letters, digits and dashes")


def name_of(text: str) -> str:
    """Make a name that Kubernetes takes of a job's.

    >>> name_of("Digits v2.yaml"), name_of("..."), name_of("a" * 99) == "a" * 50
    ('digits-v2-yaml', 'harness', True)
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:LONGEST].strip("-") or "harness"


def manifest(name: str, command: Sequence[str], pods: Pods) -> dict[str, Any]:
    """Return the MPIJob that runs a harness command.

    Args:
      name: of the job.
      command: `evaluate JOB.yaml ...`; its paths are those in the pods.
      pods: where and with what.
    """
    ranks = pods.workers * pods.ranks_per_worker
    words = [*command]
    if pods.retries and "--resume" not in words:
        words.append("--resume")  # a folder without a run is begun, one with a run is gone on with
    env = {
        THREADS.name: str(pods.cpus), "OMP_NUM_THREADS": str(pods.cpus), "TF_CPP_MIN_LOG_LEVEL": "3",
        "HOROVOD_STALL_CHECK_DISABLE": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    passed = [word for variable in env for word in ("-x", variable)]
    mpirun = ["mpirun", "--allow-run-as-root", "-np", str(ranks), "--bind-to", "none", *passed, HARNESS, *words]
    return {
        "apiVersion": "kubeflow.org/v2beta1",
        "kind": "MPIJob",
        "metadata": {"name": name, **({"namespace": pods.namespace} if pods.namespace else {})},
        "spec": {
            "slotsPerWorker": pods.ranks_per_worker,
            "sshAuthMountPath": "/root/.ssh",
            "mpiImplementation": "OpenMPI",
            "runPolicy": {"cleanPodPolicy": "Running", "backoffLimit": pods.retries},
            "mpiReplicaSpecs": {
                "Launcher": _replica(1, _container("launcher", pods, mpirun, env, {"cpu": "1", "memory": "1Gi"}), pods),
                "Worker": _replica(
                    pods.workers, _container("worker", pods, ["/usr/sbin/sshd", "-De"], {}, _resources(pods)), pods
                ),
            },
        },
    }


def _replica(count: int, container: dict[str, Any], pods: Pods) -> dict[str, Any]:
    """Return pods of one kind. Shared memory is made as large as the pod's: Open MPI and NCCL use it between ranks."""
    volumes: list[dict[str, Any]] = [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}]
    if pods.claim:
        volumes.append({"name": "work", "persistentVolumeClaim": {"claimName": pods.claim}})
    return {"replicas": count, "restartPolicy": "Never", "template": {"spec": {"containers": [container], "volumes": volumes}}}


def _container(name: str, pods: Pods, command: Sequence[str], env: dict[str, str], limits: dict[str, str]) -> dict[str, Any]:
    mounts = [{"name": "shared-memory", "mountPath": "/dev/shm"}]
    if pods.claim:
        mounts.append({"name": "work", "mountPath": MOUNT})
    container: dict[str, Any] = {
        "name": name, "image": pods.image, "command": list(command), "workingDir": MOUNT if pods.claim else "/",
        "resources": {"limits": limits}, "volumeMounts": mounts,
    }  # fmt: skip
    if env:
        container["env"] = [{"name": key, "value": value} for key, value in env.items()]
    return container


def _resources(pods: Pods) -> dict[str, str]:
    limits = {"cpu": str(pods.cpus * pods.ranks_per_worker), "memory": pods.memory}
    if pods.gpus:
        limits["nvidia.com/gpu"] = str(pods.gpus * pods.ranks_per_worker)
    return limits


def render(document: dict[str, Any]) -> str:
    """Return a manifest as YAML; what looks like another type is quoted."""
    return yaml.safe_dump(document, sort_keys=False, width=120)


def submit(text: str) -> int:
    """Give a manifest to kubectl; return its exit code.

    Raises: UsageError: there is no kubectl.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise UsageError("kubectl is not on PATH; --dry-run prints the manifest, for 'kubectl create -f -' elsewhere")
    return subprocess.run([kubectl, "create", "-f", "-"], input=text, text=True, check=False).returncode
