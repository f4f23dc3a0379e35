"""What is added up of counters: exact, once, by phase; no number where one cannot be had."""

from __future__ import annotations

import os
import sys
import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import NoReading
from harness.machine.allocation import Allocation, allocation, machine_id
from harness.machine.energy import Kind, Measured, Method, Tally
from harness.machine.meter import Meter, Phase, Readings, measure
from harness.machine.nvml import find_gpus
from harness.machine.powercap import find_zones
from tests.machine.fake_nvml import FakeGpu, FakeNvml, NVMLError
from tests.machine.powercap_tree import RANGE_UJ, make_tree, set_uj

S = 1_000_000_000
NOWHERE = Allocation("m", "n1", (0,), None, 1)


class Clock:
    """A clock that stands until it is moved, in nanoseconds."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Counted:
    """A counter that is given what to say."""

    device, kind, method = "package-0", Kind.PACKAGE, Method.COUNTER

    def __init__(self, counts, range_uj):
        self.counts = iter(counts)
        self.range_uj = range_uj

    def read(self):
        return next(self.counts)


def test_each_package_and_its_memory_once(tmp_path):
    zones, missing = find_zones(make_tree(tmp_path))
    # no cores, which are in the package; no platform; package 0 once, though two drivers show it
    assert [(zone.device, zone.kind, zone.read()) for zone in zones] == [
        ("package-0", "package", 1000), ("package-0/dram", "memory", 300),
        ("package-1", "package", 1001), ("package-1/dram", "memory", 301),
    ]  # fmt: skip
    assert missing == {}


def test_a_machine_without_counters_says_so(tmp_path):
    zones, missing = find_zones(tmp_path / "class" / "powercap")
    assert zones == [] and set(missing) == {Kind.PACKAGE, Kind.MEMORY}
    assert all("shows no counter of it" in reason for reason in missing.values())
    zones, missing = find_zones(make_tree(tmp_path, memory=False))
    assert [zone.device for zone in zones] == ["package-0", "package-1"] and list(missing) == [Kind.MEMORY]


def test_counters_that_only_root_may_read_are_null_with_that_reason(tmp_path, monkeypatch):
    shown = make_tree(tmp_path)
    locked = shown / "intel-rapl:1" / "energy_uj"
    locked.chmod(0o400)
    if os.geteuid() == 0:  # whom nothing is forbidden: a folder in its place, and what the system says of a locked file
        read = type(locked).read_text

        def denied(self, *args, **options):
            if self == locked:
                raise PermissionError(13, "Permission denied")
            return read(self, *args, **options)

        monkeypatch.setattr(type(locked), "read_text", denied)
    zones, missing = find_zones(shown)
    # One package of two would be taken for the machine.
    assert {zone.kind for zone in zones} == {Kind.MEMORY}
    assert missing == {Kind.PACKAGE: f"{locked}: only root may read it"}


@pytest.mark.parametrize("text", ["", "many", "-5", "1e9", "٣"])
def test_what_is_no_count_is_not_taken_for_one(text, tmp_path):
    shown = make_tree(tmp_path, 1)
    (shown / "intel-rapl:0" / "energy_uj").write_text(text)
    _, missing = find_zones(shown)
    assert "expected a count of microjoules" in missing[Kind.PACKAGE]


def test_a_counter_that_begins_again_is_added_up(tmp_path):
    shown, clock = make_tree(tmp_path, 1, memory=False), Clock()
    set_uj(shown, "intel-rapl:0", RANGE_UJ - 10)
    zones, _ = find_zones(shown)
    meter = Meter(zones, own=NOWHERE, clock_ns=clock)
    clock.now += 10 * S
    set_uj(shown, "intel-rapl:0", 32)
    meter.mark(Phase.EVALUATING)
    clock.now += 10 * S
    set_uj(shown, "intel-rapl:0", 1032)
    (device,) = meter.readings().devices
    assert device.phases_uj == {"loading": 42, "evaluating": 1000} and device.total_uj == 1042


def test_a_counter_that_was_not_read_for_too_long_has_no_number():
    tally = Tally(Counted([0, 5, 7], 262_143_328_850))
    tally.add("loading", 0)
    tally.add("loading", 262 * S)  # 262 kJ in 262 s are less than 1,001 W
    assert tally.measured().total_uj == 5
    tally.add("evaluating", (262 + 263) * S)
    assert tally.measured().total_uj is None and "not read for 263 s" in tally.reason


@given(st.lists(st.integers(0, RANGE_UJ - 1), min_size=1, max_size=40), st.integers(0, RANGE_UJ - 1))
def test_however_often_it_begins_again_the_sum_is_exact(steps, begin):
    counts, total = [begin], begin
    for step in steps:
        total += step
        counts.append(total % RANGE_UJ)
    tally = Tally(Counted(counts, RANGE_UJ))
    for second in range(len(counts)):
        tally.add("evaluating", second * S)
    assert tally.measured().total_uj == sum(steps)


def test_a_counter_that_vanishes_leaves_no_part_of_a_number(tmp_path):
    shown, clock = make_tree(tmp_path, 1), Clock()
    zones, _ = find_zones(shown)
    meter = Meter(zones, own=NOWHERE, clock_ns=clock)
    clock.now += S
    set_uj(shown, "intel-rapl:0", 5000)
    set_uj(shown, "intel-rapl:0:1", 400)
    meter.mark(Phase.EVALUATING)
    (shown / "intel-rapl:0" / "energy_uj").unlink()
    package, memory = meter.readings().devices
    assert (package.total_uj, package.phases_uj) == (None, {})
    assert package.reason.endswith("energy_uj: cannot be read: No such file or directory")
    assert memory.total_uj == 100
    (shown / "intel-rapl:0" / "energy_uj").write_text("9000")  # it does not come back
    assert meter.readings().devices[0].total_uj is None


@pytest.fixture
def nvml(monkeypatch):
    def install(*gpus: FakeGpu) -> FakeNvml:
        library = FakeNvml(*gpus)
        monkeypatch.setitem(sys.modules, "pynvml", library)
        return library

    return install


def test_gpus_count_by_themselves(nvml, tmp_path):
    first, second = FakeGpu("GPU-a", 7_000), FakeGpu("GPU-b", 50)
    nvml(first, second)
    clock = Clock()
    meter = measure(first=True, powercap=tmp_path, clock_ns=clock)
    meter.choose([1], {})
    assert meter.allocation.gpus == ("GPU-b",)
    meter.keep(meter.allocation.gpus)
    clock.now, second.energy_mj = 2 * S, 90
    meter.mark(Phase.EVALUATING)
    clock.now, second.energy_mj = 3 * S, 1090
    readings = meter.readings()
    assert readings.devices == [Measured("GPU-b", Kind.GPU, Method.COUNTER, {"loading": 40_000, "evaluating": 1_000_000})]
    assert readings.phases_ns == {"loading": 2 * S, "evaluating": S} and readings.elapsed_s == 3.0
    assert Readings.from_dict(readings.to_dict()).devices == readings.devices
    assert "power" not in first.asked + second.asked


def test_power_is_added_up_only_where_there_is_no_counter(nvml):
    old = FakeGpu("GPU-old", NVMLError(3), 100_000)
    nvml(old)
    clock = Clock()
    (gpu,) = find_gpus(clock).counters
    assert gpu.method is Method.POWER
    tally = Tally(gpu)
    total = Fraction(0)
    for now_ns, power_mw in [(0, 100_000), (S, 200_000), (S + 3, 70_001), (4 * S, 70_001)]:
        before_mw, before_ns = (old.power_mw, clock.now) if now_ns else (power_mw, 0)
        total += Fraction((before_mw + power_mw) * (now_ns - before_ns), 2 * 10**6)
        old.power_mw, clock.now = power_mw, now_ns
        tally.add("evaluating", now_ns)
    assert tally.measured().total_uj == int(total) == 360_003_000 + 0
    clock.now += 11 * S
    tally.add("evaluating", clock.now)
    assert tally.measured().total_uj is None and "nobody asked for during 11 s" in tally.reason


@pytest.mark.parametrize("number", [4, 15])
def test_a_counter_that_fails_is_not_taken_for_one_that_is_not_there(number, nvml):
    gpu = FakeGpu("GPU-a", NVMLError(number), 1)
    nvml(gpu)
    (counter,) = find_gpus().counters
    assert counter.method is Method.COUNTER
    with pytest.raises(NoReading, match=f"NVML: {NVMLError(number)}"):
        counter.read()


def test_a_driver_that_was_loaded_again_leaves_no_number(nvml):
    gpu = FakeGpu("GPU-a", 500)
    nvml(gpu)
    tally = Tally(find_gpus().counters[0])
    tally.add("loading", 0)
    gpu.energy_mj = 499
    tally.add("loading", S)
    assert "its counter went back" in tally.reason


TWO = [FakeGpu("GPU-aa"), FakeGpu("GPU-ab", pids=[77])]
UNLIKE = [FakeGpu("GPU-aa", name="A100"), FakeGpu("GPU-ab", name="T4", pids=[77])]


@pytest.mark.parametrize(
    "gpus, ordinals, environ, uuids",
    [
        (TWO, [0], {}, ("GPU-aa",)),
        (TWO, [0], {"CUDA_VISIBLE_DEVICES": "1"}, ("GPU-ab",)),
        (TWO, [0, 1], {"CUDA_VISIBLE_DEVICES": "1,0"}, ("GPU-aa", "GPU-ab")),
        (TWO, [0], {"CUDA_VISIBLE_DEVICES": "GPU-ab"}, ("GPU-ab",)),
        (TWO, [0], {"CUDA_VISIBLE_DEVICES": "GPU-a"}, ()),  # of two that begin so, and the process is on neither
        (TWO, [], {}, ()),
        (UNLIKE, [0], {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ("GPU-aa",)),
        (UNLIKE, [0], {}, ()),  # the fastest first: nobody knows which that is
        (TWO, [0], {"CUDA_VISIBLE_DEVICES": "MIG-1"}, ()),
    ],
)
def test_which_gpus_a_process_computes_on(gpus, ordinals, environ, uuids, nvml):
    nvml(*gpus)
    meter = Meter(gpus=find_gpus(), own=NOWHERE)
    meter.choose(ordinals, environ)
    assert (meter.allocation.gpus, meter.allocation.gpu_count) == (uuids, len(ordinals))
    assert bool(meter.allocation.reason) == (len(uuids) < len(ordinals))


def test_where_cuda_numbers_unlike_gpus_the_process_is_looked_for(nvml):
    nvml(*UNLIKE)
    assert find_gpus().used([0], None, "", 77) == ["GPU-ab"]


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpus = find_gpus()
    with pytest.raises(NoReading, match=r"exact-harness\[energy\]"):
        gpus.used([0], None, "", 1)
    assert gpus.used([], None, "", 1) == []


def test_nvidias_own_module_without_a_driver():
    pynvml = pytest.importorskip("pynvml")
    gpus = find_gpus()
    assert gpus.library is None or gpus.library is pynvml
    assert gpus.reason.startswith("NVML: ") or gpus.counters


def test_only_the_first_on_a_node_reads_processors_and_powers(nvml, tmp_path):
    shown = make_tree(tmp_path)
    nvml(FakeGpu("GPU-new", 1), FakeGpu("GPU-old", NVMLError(3), 1))
    first, other = (measure(first=number == 0, powercap=shown) for number in range(2))
    assert [device.device for device in first.readings().devices] == [
        "package-0", "package-0/dram", "package-1", "package-1/dram", "GPU-new", "GPU-old",
    ]  # fmt: skip
    assert [device.device for device in other.readings().devices] == ["GPU-new"] and other.readings().missing == {}


def test_a_thread_reads_what_begins_again_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.machine.meter.PERIOD_S", 0.01)
    meter = measure(first=True, powercap=make_tree(tmp_path))
    read = threading.Event()
    meter.on_reading = read.set
    meter.watch()
    assert read.wait(30)
    meter.close()
    assert "meter" not in [thread.name for thread in threading.enumerate()]


def test_processor_time_is_what_the_process_used():
    meter = Meter()
    before, total = meter.readings().processor_s, 0
    while meter.readings().processor_s < before + 0.05:
        total += 1
    assert total and meter.readings().processor_s < before + 30


def test_what_a_process_may_use(tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    own = allocation({}, tmp_path)
    assert own.limit == 1.5 and own.cores == tuple(sorted(os.sched_getaffinity(0))) and own.machine == machine_id()
    assert allocation({"SLURM_CPUS_ON_NODE": "4"}, tmp_path).limit == 4.0
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert allocation({}, tmp_path).limit is None
    assert Allocation.from_dict(own.to_dict()) == own
    assert machine_id(tmp_path / "none")
