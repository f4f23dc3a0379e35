"""The accounts of ranks, put together: every machine, package and GPU once, nothing made up."""

from __future__ import annotations

from harness.machine.allocation import Allocation
from harness.machine.energy import Kind, Measured, Method
from harness.machine.meter import Readings
from harness.results.usage import Account, usage

S = 1_000_000_000


def account(
    rank, *devices, machine="m", host="n1", gpus=(), gpu_count=None, reason="", missing=None, processor_s=36.0, cores=(0, 1)
):
    """A rank that was 10 s loading and 90 s evaluating, and computes on some GPUs."""
    own = Allocation(machine, host, cores, None, 8, len(gpus) if gpu_count is None else gpu_count, tuple(gpus), reason)
    return Account(rank, own, Readings(devices, missing or {}, {"loading": 10 * S, "evaluating": 90 * S}, processor_s))


def package(number, loading, evaluating):
    return Measured(f"package-{number}", Kind.PACKAGE, Method.COUNTER, {"loading": loading, "evaluating": evaluating})


def gpu(uuid, loading, evaluating, method=Method.COUNTER):
    return Measured(uuid, Kind.GPU, method, {"loading": loading, "evaluating": evaluating})


def kinds(document):
    return {entry["kind"]: (entry["joules"], entry.get("reason")) for entry in document["energy"]}


NO_MEMORY = {Kind.MEMORY: "no counter"}


def test_a_package_that_two_ranks_see_is_counted_once():
    # Two containers of one machine: both are the first on their host, and read the machine's counter.
    both = [
        account(0, package(0, 10_000_000, 90_000_001), host="a", missing=NO_MEMORY),
        account(1, package(0, 11_000_000, 91_000_000), host="b", missing=NO_MEMORY, cores=(2, 3)),
    ]
    document = usage(both, 100.0)
    assert kinds(document) == {"package": (100.000001, None), "memory": (None, "a: no counter")}
    assert document["energy"][0]["watts"] == 1.0
    assert document["energy"][0]["phases"] == {
        "loading": {"joules": 10.0, "watts": 1.0}, "evaluating": {"joules": 90.000001, "watts": 1.0},
    }  # fmt: skip
    assert (document["nodes"], document["cores"]) == (1, 4.0)
    assert document["devices"][0]["ranks"] == [0, 1] and document["devices"][0]["read_by"] == 0
    # On two machines the same name is two packages.
    apart = [account(0, package(0, 1, 2), missing=NO_MEMORY), account(1, package(0, 3, 4), machine="other", missing=NO_MEMORY)]
    assert kinds(usage(apart, 1.0))["package"] == (1e-5, None)


def test_hours_are_those_of_machines_cores_and_processor_time():
    document = usage([account(0), account(1), account(2, machine="other", host="n2", cores=(0,))], 7200.0)
    assert (document["node_hours"], document["cpu_hours"], document["cpu_hours_used"]) == (4.0, 6.0, 0.03)
    assert (document["gpus"], document["gpu_hours"]) == (0, 0.0)
    assert "gpu" not in kinds(document)  # none was used: none has to be measured


def test_a_gpu_that_two_ranks_share_is_counted_once_and_is_nobodys_alone():
    shared = [
        account(0, gpu("GPU-a", 1_000_000, 9_000_000), gpus=["GPU-a"]),
        account(1, gpu("GPU-a", 1_000_001, 9_000_001), gpus=["GPU-a"]),
        account(2, gpu("GPU-b", 2_000_000, 18_000_000), gpus=["GPU-b"]),
    ]
    document = usage(shared, 100.0)
    assert kinds(document)["gpu"] == (30.0, None)
    assert (document["gpus"], round(document["gpu_hours"] * 3600, 6)) == (2, 200.0)
    assert [(entry["rank"], entry["joules"], entry["watts"]) for entry in document["by_rank"]] == [(2, 20.0, 0.2)]
    assert document["by_rank"][0]["phases"]["evaluating"] == {"joules": 18.0, "watts": 0.2}
    assert [(device["device"], device["ranks"]) for device in document["devices"]] == [("GPU-a", [0, 1]), ("GPU-b", [2])]


def test_a_gpu_of_one_rank_is_taken_from_that_rank():
    first = account(0, gpu("GPU-a", 1, 2), gpu("GPU-b", 5, 5), gpus=["GPU-a"])  # reads all, in its own phases
    document = usage([first, account(1, gpu("GPU-b", 4, 7), gpus=["GPU-b"])], 1.0)
    assert [device["read_by"] for device in document["devices"]] == [0, 1]
    # One that only tells its power is read by the first: the rank's joules are known, its phases are not.
    old = [account(0, gpu("GPU-b", 4, 7, Method.POWER)), account(1, gpus=["GPU-b"])]
    document = usage(old, 1.0)
    assert document["by_rank"] == [{"rank": 1, "joules": 1.1e-05, "watts": 0.0}]
    assert document["energy"][2]["method"] == "power samples"


def test_a_part_is_not_taken_for_the_whole():
    gone = Measured("package-1", Kind.PACKAGE, reason="energy_uj: cannot be read")
    document = usage([account(0, package(0, 1, 1), gone, missing=NO_MEMORY)], 1.0)
    assert kinds(document)["package"] == (None, "n1: package-1: energy_uj: cannot be read")
    (node,) = document["by_node"]
    assert (node["joules"], node["without"]) == (2e-6, ["package-1"])
    # One machine of two that may not be read
    denied = {Kind.PACKAGE: "only root may read it", Kind.MEMORY: "no counter"}
    document = usage([account(0, package(0, 1, 1)), account(1, machine="other", host="n2", missing=denied)], 1.0)
    assert kinds(document)["package"] == (None, "n2: only root may read it")
    lost = Measured("GPU-a", Kind.GPU, reason="NVML: GPU is lost")
    document = usage([account(0, lost, gpu("GPU-b", 1, 1), gpus=["GPU-a", "GPU-b"])], 3600.0)
    assert kinds(document)["gpu"] == (None, "GPU-a: NVML: GPU is lost") and document["gpu_hours"] == 2.0
    assert document["by_rank"] == []


def test_gpus_that_nobody_can_name():
    alone = account(0, gpu_count=2, reason="nvidia-ml-py is not installed")
    document = usage([alone, account(1, machine="other", gpu_count=1, reason="nvidia-ml-py is not installed")], 3600.0)
    # Each is the only rank on its machine: nobody shares with it.
    assert (document["gpus"], document["gpu_hours"]) == (3, 3.0)
    assert kinds(document)["gpu"][0] is None
    document = usage([alone, account(1, gpu_count=2, reason="nvidia-ml-py is not installed")], 3600.0)
    assert (document["gpus"], document["gpu_hours"]) == (None, None)
    assert document["gpu_reason"] == "n1: whether ranks share GPUs cannot be told: nvidia-ml-py is not installed"
    assert kinds(document)["gpu"] == (None, document["gpu_reason"])
    named = account(0, gpu("GPU-a", 1, 1), gpus=["GPU-a"])
    document = usage([named, account(1, machine="other", gpu_count=1, reason="no driver")], 3600.0)
    assert document["gpus"] == 2 and kinds(document)["gpu"] == (None, "n1: no driver")


def test_what_ranks_left_that_did_not_end_well():
    left = account(0, package(0, 1_000_000, 2_000_000), missing=NO_MEMORY)
    silent = Account(1, left.allocation)
    document = usage([Account.from_dict(entry.to_dict()) for entry in (left, silent)], left.readings.elapsed_s)
    assert document["cpu_hours_used"] is None and document["elapsed_s"] == 100.0
    assert kinds(document)["package"] == (3.0, None)
    document = usage([silent], 1.0)
    assert kinds(document)["package"] == (None, "n1: no rank could read it")
