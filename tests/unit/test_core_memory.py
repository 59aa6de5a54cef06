"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes

import psutil
import pytest

from anonymizer.core import memory

MB = 2**20


@pytest.mark.skipif(memory._trim() is None, reason="malloc_trim is glibc's")
def test_what_is_free_is_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    # Blocks below the limit from which memory is mapped alone; the last one keeps the heap from shrinking by itself.
    blocks = [libc.malloc(60_000) for _ in range(2_000)]
    for block in blocks:
        ctypes.memset(block, 1, 60_000)
    for block in blocks[:-1]:
        libc.free(block)
    before = psutil.Process().memory_info().rss
    memory.give_back()
    after = psutil.Process().memory_info().rss
    libc.free(blocks[-1])
    assert before - after > 50 * MB


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_trim", lambda: None)
    memory.give_back()
