"""What a container allows, read from files like the kernel's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval import config, container

Machine = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Write files below the root that the kernel's files are looked for in."""
    count = iter(range(100))

    def write(files: dict[str, str]) -> Path:
        # A root of its own each time: what is read once is kept.
        root = tmp_path / str(next(count))
        for name, text in {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n", **files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        monkeypatch.setattr(container, "ROOT", root)
        return root

    return write


def test_a_machine_without_limits_has_none(machine: Machine) -> None:
    machine({})
    assert container.processors() is None
    assert container.memory_limit() is None
    assert config.free_memory() == 8000 << 10
    assert config.cores() >= 1


def test_a_machine_that_tells_nothing_says_so(machine: Machine) -> None:
    (machine({}) / "proc/meminfo").unlink()
    assert config.free_memory() is None
    assert 256 << 20 <= config.default_memory() <= 2 << 30


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("150000 100000", 2), ("20000 100000", 1), ("max 100000", 64)]
)
def test_cores_are_no_more_than_the_container_pays_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    machine({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": quota})
    assert config.cores() == cores


def test_cores_are_no_more_than_the_process_is_bound_to(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    machine({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "400000 100000"})
    assert config.cores() == 1


def test_cores_follow_the_quota_of_the_older_groups(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    folder = "sys/fs/cgroup/cpu,cpuacct/docker/x"
    groups = "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x"
    machine(
        {
            "proc/self/cgroup": groups,
            f"{folder}/cpu.cfs_quota_us": "250000",
            f"{folder}/cpu.cfs_period_us": "100000",
        }
    )
    assert config.cores() == 3
    machine(
        {
            "proc/self/cgroup": groups,
            f"{folder}/cpu.cfs_quota_us": "-1",
            f"{folder}/cpu.cfs_period_us": "100000",
        }
    )
    assert config.cores() == 64


def test_memory_is_what_the_tightest_group_above_leaves(machine: Machine) -> None:
    root = machine(
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/b/memory.max": "6000000",
            "sys/fs/cgroup/a/b/memory.current": "1000000",
            "sys/fs/cgroup/a/b/memory.stat": "anon 1\ninactive_file 0",
            "sys/fs/cgroup/a/memory.max": "5000000",
            "sys/fs/cgroup/a/memory.current": "4000000",
            "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 500000",
        }
    )
    assert container.memory_limit() == 5_000_000
    assert config.free_memory() == 1_500_000
    (root / "sys/fs/cgroup/a/memory.current").write_text("5000000")
    assert config.free_memory() == 500_000


def test_memory_of_the_older_groups_counts_and_their_great_number_is_no_limit(machine: Machine) -> None:
    # Inside a container the mount may begin at its own group, whose path is that of outside.
    files = {
        "proc/self/cgroup": "7:memory:/docker/abc",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "2000000",
        "sys/fs/cgroup/memory/memory.stat": "cache 5\ntotal_inactive_file 250000",
    }
    machine(files)
    assert config.free_memory() == 1_250_000
    machine({**files, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"})
    assert container.memory_limit() is None


def test_pictures_get_half_of_what_is_free_and_never_nothing(machine: Machine) -> None:
    machine({"proc/meminfo": f"MemAvailable: {300 << 10} kB"})
    assert config.default_memory() == 150 << 20
    machine({"proc/meminfo": "MemAvailable: 5 kB"})
    assert config.default_memory() == config.LEAST_MEMORY


def test_pictures_get_a_quarter_of_what_a_container_may_hold(machine: Machine) -> None:
    gigabyte = 1 << 30
    machine(
        {
            "proc/meminfo": f"MemAvailable: {64 << 20} kB",
            "proc/self/cgroup": "0::/",
            "sys/fs/cgroup/memory.max": str(2 * gigabyte),
            "sys/fs/cgroup/memory.current": "0",
            "sys/fs/cgroup/memory.stat": "inactive_file 0",
        }
    )
    assert config.default_memory() == gigabyte // 2
