"""The MPIJob: what the operator's schema takes, the whole text of one, and what is refused."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from harness_launch.kubernetes import Pods, manifest, render, submit

from harness.errors import UsageError

SCHEMA = yaml.safe_load((Path(__file__).parent / "mpijob.schema.yaml").read_text())
SMALL = Pods("registry.example/harness:0.1")
LARGE = Pods("h:1", workers=3, ranks_per_worker=4, cpus=2, gpus=1, memory="64Gi", claim="lab-data", namespace="lab", retries=2)
HOSTILE = ["evaluate", "a b;rm -rf $HOME/`x`.yaml", "--set", "x=yes", "-o", "no", "--set", "y=\"'#: {%"]

WHOLE = """\
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: digits
spec:
  slotsPerWorker: 2
  sshAuthMountPath: /root/.ssh
  mpiImplementation: OpenMPI
  runPolicy:
    cleanPodPolicy: Running
    backoffLimit: 1
  mpiReplicaSpecs:
    Launcher:
      replicas: 1
      restartPolicy: Never
      template:
        spec:
          containers:
          - name: launcher
            image: lab/harness:0.1
            command:
            - mpirun
            - --allow-run-as-root
            - -np
            - '4'
            - --bind-to
            - none
            - -x
            - HARNESS_THREADS
            - -x
            - OMP_NUM_THREADS
            - -x
            - TF_CPP_MIN_LOG_LEVEL
            - -x
            - HOROVOD_STALL_CHECK_DISABLE
            - -x
            - PYTHONUNBUFFERED
            - /opt/harness/.venv/bin/harness
            - evaluate
            - digits.yaml
            - --resume
            workingDir: /work
            resources:
              limits:
                cpu: '1'
                memory: 1Gi
            volumeMounts:
            - name: shared-memory
              mountPath: /dev/shm
            - name: work
              mountPath: /work
            env:
            - name: HARNESS_THREADS
              value: '2'
            - name: OMP_NUM_THREADS
              value: '2'
            - name: TF_CPP_MIN_LOG_LEVEL
              value: '3'
            - name: HOROVOD_STALL_CHECK_DISABLE
              value: '1'
            - name: PYTHONUNBUFFERED
              value: '1'
          volumes:
          - name: shared-memory
            emptyDir:
              medium: Memory
          - name: work
            persistentVolumeClaim:
              claimName: lab
    Worker:
      replicas: 2
      restartPolicy: Never
      template:
        spec:
          containers:
          - name: worker
            image: lab/harness:0.1
            command:
            - /usr/sbin/sshd
            - -De
            workingDir: /work
            resources:
              limits:
                cpu: '4'
                memory: 16Gi
                nvidia.com/gpu: '2'
            volumeMounts:
            - name: shared-memory
              mountPath: /dev/shm
            - name: work
              mountPath: /work
          volumes:
          - name: shared-memory
            emptyDir:
              medium: Memory
          - name: work
            persistentVolumeClaim:
              claimName: lab
"""


@pytest.mark.parametrize("pods", [SMALL, LARGE])
@pytest.mark.parametrize("command", [["evaluate", "digits.yaml"], HOSTILE])
def test_the_operators_schema_takes_it(pods, command):
    document = yaml.safe_load(render(manifest("digits", command, pods)))
    jsonschema.validate(document, SCHEMA)
    launcher = document["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["command"]
    at = launcher.index("/opt/harness/.venv/bin/harness") + 1
    assert launcher[at : at + len(command)] == command  # no shell sees it, and YAML gives it back as it was
    assert launcher[at + len(command) :] == (["--resume"] if pods.retries else [])
    assert launcher[launcher.index("-np") + 1] == str(pods.workers * pods.ranks_per_worker)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (["spec", "slotsPerWorker"], "2"),
        (["spec", "mpiReplicas"], {}),
        (["spec", "mpiImplementation"], "Open MPI"),
        (["spec", "mpiReplicaSpecs", "Worker", "restartPolicy"], "never"),
        (["spec", "mpiReplicaSpecs", "Worker", "template", "spec", "containers", 0, "resources", "limits", "cpu"], "two"),
        (["spec", "mpiReplicaSpecs", "Launcher", "template", "spec", "containers", 0, "command"], "mpirun"),
    ],
)
def test_the_schema_refuses_what_the_operator_would(where, value):
    document = manifest("digits", ["evaluate", "digits.yaml"], LARGE)
    at = document
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_the_command_prints_it(harness):
    done = harness(
        "launch", "--kubernetes", "--dry-run", "-np", "4", "--workers", "2", "--image", "lab/harness:0.1", "--claim", "lab", "--cpus", "2",
        "--gpus", "1", "--memory", "16Gi", "--restarts", "1", "--", "evaluate", "digits.yaml",
    )  # fmt: skip
    assert (done.code, done.out) == (0, WHOLE), done.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kubernetes"], "needs --image"),
        (["--kubernetes", "--image", "h", "-np", "3", "--workers", "2"], "that 2 workers can share evenly"),
        (["--kubernetes", "--image", "h", "--memory", "lots"], "expected a quantity"),
        (["--kubernetes", "--image", "h", "--claim", "My Claim"], "lower-case letters"),
        (["--kubernetes", "--image", "-x"], "expected the name of a container image"),
        (["--image", "h"], "--image goes with --kubernetes"),
    ],
)
def test_what_is_refused(words, message, harness):
    done = harness("launch", "--dry-run", *words, "--", "evaluate", "digits.yaml")
    assert done.code == 2 and message in done.err, done.text


def test_without_kubectl_it_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="--dry-run prints the manifest"):
        submit("")
