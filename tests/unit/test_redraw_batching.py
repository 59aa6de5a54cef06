"""Batches fill, shrink when memory runs out without losing work, and are shared by pictures in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from anonymizer.core.errors import ModelError
from anonymizer.redraw.batching import Packer, SharedInpainter, is_out_of_memory


@dataclass
class Device:
    """Doubles numbers, and runs out of memory with more than ``room`` at once."""

    room: int = 100
    words: str = ""

    def __post_init__(self) -> None:
        self.batches: list[int] = []
        self.failures = 0

    def work(self, batch: Sequence[int]) -> list[int]:
        if len(batch) > self.room:
            self.failures += 1
            raise RuntimeError(self.words) if self.words else torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(batch))
        return [2 * job for job in batch]


def test_batches_grow_up_to_the_limit() -> None:
    device, packer = Device(), Packer(start=2, most=8)
    assert packer.run(range(22), lambda job: 0, device.work) == [2 * job for job in range(22)]
    assert device.batches == [2, 4, 8, 8]


def test_a_fixed_size_stays() -> None:
    device, packer = Device(), Packer(start=4, most=0)
    packer.run(range(10), lambda job: 0, device.work)
    assert device.batches == [4, 4, 2]


@pytest.mark.parametrize("words", ["", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"])
def test_memory_running_out_halves_the_batch_and_loses_nothing(words: str) -> None:
    device, packer = Device(room=3, words=words), Packer(start=2, most=16)
    assert packer.run(range(15), lambda job: 0, device.work) == [2 * job for job in range(15)]
    assert device.batches == [2] * 7 + [1]
    assert device.failures == 1
    packer.run(range(4), lambda job: 0, device.work)
    assert device.failures == 1, "what once failed is not tried again"


def test_a_single_job_that_does_not_fit_is_an_error_with_a_remedy() -> None:
    with pytest.raises(ModelError, match="cpu_offload"):
        Packer(start=4, most=4).run([1, 2], lambda job: 0, Device(room=0).work)


def test_other_errors_are_not_taken_for_memory() -> None:
    def broken(batch: Sequence[int]) -> list[int]:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        Packer(start=4, most=4).run([1], lambda job: 0, broken)
    assert not is_out_of_memory(ValueError("out of memory"))


def test_only_like_jobs_share_a_batch_and_order_is_kept() -> None:
    seen: list[list[int]] = []

    def work(batch: Sequence[int]) -> list[int]:
        seen.append(list(batch))
        return [-job for job in batch]

    assert Packer(start=8, most=8).run([1, 2, 3, 4, 5], lambda job: job % 2, work) == [-1, -2, -3, -4, -5]
    assert seen == [[1, 3, 5], [2, 4]]


class Inpainter:
    """Remembers its calls; fails on the job -1."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def inpaint(self, jobs: Sequence[int]) -> list[np.ndarray]:
        self.calls.append(list(jobs))
        if -1 in jobs:
            raise ModelError("cannot paint -1")
        return [np.full(1, job) for job in jobs]


def picture(inpainter: SharedInpainter, *rounds: list[int]):  # type: ignore[no-untyped-def]
    def task() -> list[int]:
        return [int(painted[0]) for jobs in rounds for painted in inpainter.inpaint(jobs)]

    return task


def test_pictures_share_rounds_of_painting() -> None:
    inner = Inpainter()
    inpainter = SharedInpainter(inner)
    tasks = [picture(inpainter, [1, 2], [3]), picture(inpainter, [4]), picture(inpainter, [], [5], [6], [7])]
    assert inpainter.together(tasks) == [[1, 2, 3], [4], [5, 6, 7]]
    assert inner.calls == [[1, 2, 4, 5], [3, 6], [7]]


def test_who_meets_whom_does_not_depend_on_time() -> None:
    runs = []
    for _ in range(20):
        inner = Inpainter()
        inpainter = SharedInpainter(inner)
        inpainter.together([picture(inpainter, [n], [10 + n]) for n in range(6)])
        runs.append(inner.calls)
    assert all(calls == runs[0] for calls in runs)


def test_one_bad_job_costs_only_its_own_picture() -> None:
    inpainter = SharedInpainter(Inpainter())
    first, bad, last = inpainter.together(
        [picture(inpainter, [1], [2]), picture(inpainter, [-1]), picture(inpainter, [3])]
    )
    assert first == [1, 2] and last == [3]
    assert isinstance(bad, ModelError)


def test_a_task_that_fails_by_itself_does_not_hold_up_the_others() -> None:
    inpainter = SharedInpainter(Inpainter())

    def fails() -> list[int]:
        raise ValueError("decode")

    failed, done = inpainter.together([fails, picture(inpainter, [1])])
    assert isinstance(failed, ValueError) and done == [1]
    assert inpainter.together([]) == []


def test_alone_it_paints_directly() -> None:
    inner = Inpainter()
    assert int(SharedInpainter(inner).inpaint([7])[0][0]) == 7
