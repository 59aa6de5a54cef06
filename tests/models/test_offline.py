"""The embedded preset reaches for no network and leaves nothing in the home folder, in any of its processes."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Imported by every Python process that finds it, before anything else.
GUARD = """
import os, sys
ALLOWED = ("AF_UNIX",)
def hook(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if args[0].family.name in ALLOWED:
            return
    elif event not in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return
    with open(os.environ["GUARD_LOG"], "a") as log:
        log.write(f"{event} {args[1:]}\\n")
    raise RuntimeError("network")
sys.addaudithook(hook)
with open(os.environ["GUARD_LOG"] + ".pids", "a") as log:
    log.write(f"{os.getpid()}\\n")
"""


# urllib3 asks on import whether the machine knows IPv6 by binding a socket that sends nothing.
NO_PROBE = "import socket\nsocket.has_ipv6 = False\n"
#: Number of the system call ``socket`` and the kernel's name (AUDIT_ARCH) of the machines known here.
SYSCALLS = {"x86_64": (41, 0xC000003E), "aarch64": (198, 0xC00000B7)}


def kill_at_sockets() -> None:
    """Have the kernel kill this process, or any it starts, when it opens a socket to the network, native code included.

    Netlink is among them: the resolver asks it for the machine's addresses.
    """
    number, arch = SYSCALLS[platform.machine()]
    allow, kill = 0x7FFF0000, 0x80000000
    load, equal, give = 0x20, 0x15, 0x06
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
    lines = [(load, 0, 0, 4), (equal, 1, 0, arch), (give, 0, 0, kill)]
    # Any other call goes to the line that allows: over the load and the comparisons.
    lines += [(load, 0, 0, 0), (equal, 0, 1 + len(families), number)]
    lines += [(load, 0, 0, 16), *((equal, len(families) - n, 0, family) for n, family in enumerate(families))]
    lines += [(give, 0, 0, allow), (give, 0, 0, kill)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_void_p))

    libc = ctypes.CDLL(None, use_errno=True)
    given = Filter(len(lines), ctypes.addressof(program))
    pr_set_no_new_privs, pr_set_seccomp, seccomp_mode_filter = 38, 22, 2
    if libc.prctl(pr_set_no_new_privs, 1, 0, 0, 0) or libc.prctl(
        pr_set_seccomp, seccomp_mode_filter, ctypes.byref(given), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "seccomp")


def run_walled(tmp_path: Path, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command under that guard, with a home folder of its own."""
    if platform.machine() not in SYSCALLS or sys.platform != "linux":
        pytest.skip(f"the guard knows Linux on {', '.join(SYSCALLS)} only")
    for name in ("guard", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "guard/sitecustomize.py").write_text(NO_PROBE)
    taken = ("XDG_", "ORT_", "HF_", "MPL", "YOLO_", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(taken)}
    # The package under test comes first, also where another copy is installed.
    path = os.pathsep.join([str(tmp_path / "guard"), str(Path(__file__).resolve().parents[2])])
    environment |= {"PYTHONPATH": path, "HOME": str(tmp_path / "home"), **settings}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path, preexec_fn=kill_at_sockets
    )


def left_at_home(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "home").rglob("*"))


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard/sitecustomize.py").write_text(GUARD)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "guard"), "GUARD_LOG": str(tmp_path / "log")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)


def test_the_guard_sees_the_network(tmp_path: Path) -> None:
    done = run(tmp_path, sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert done.returncode != 0 and "network" in done.stderr
    assert "socket.getaddrinfo" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK"])
def test_the_wall_ends_native_code_that_opens_a_socket(tmp_path: Path, family: str) -> None:
    code = f"import ctypes, socket; ctypes.CDLL(None).socket(int(socket.{family}), int(socket.SOCK_DGRAM), 0)"
    assert run_walled(tmp_path, sys.executable, "-c", code).returncode == -signal.SIGSYS


def test_the_wall_lets_local_sockets_through(tmp_path: Path) -> None:
    code = "import socket; print(socket.socketpair()[0].family.name)"
    assert run_walled(tmp_path, sys.executable, "-c", code).stdout == "AF_UNIX\n"


def test_a_run_opens_no_socket_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    arguments = arrange(tmp_path)
    done = run_walled(tmp_path, sys.executable, "-m", "anonymizer", *arguments)
    assert done.returncode in (0, 3), done.stderr
    record = json.loads((tmp_path / "out/ledger.jsonl").read_text())
    assert record["status"] in ("released", "quarantined"), record["reason"]
    assert left_at_home(tmp_path) == []


def test_the_api_opens_no_socket_and_leaves_nothing_at_home(tmp_path: Path) -> None:
    code = """
import numpy as np
from anonymizer import Anonymizer
pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
print(Anonymizer.from_preset("embedded", seed=1)(pixels).image.shape)
"""
    done = run_walled(tmp_path, sys.executable, "-c", code)
    assert (done.returncode, done.stdout) == (0, "(96, 128, 3)\n"), done.stderr
    assert left_at_home(tmp_path) == []


def test_packages_that_write_into_the_home_folder_are_given_another(tmp_path: Path) -> None:
    # ultralytics asks the kernel for a hardware address, through a socket that sends nothing.
    code = """
import uuid
uuid._generate_time_safe = uuid._UuidCreate = None
uuid.getnode = lambda: 1
from anonymizer.models.third_party import offline
with offline():
    import matplotlib.pyplot
    import diffusers, transformers, ultralytics
    from insightface.model_zoo import scrfd
"""
    done = run_walled(tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert left_at_home(tmp_path) == []


def test_who_imports_onnx_runtime_first_is_warned(tmp_path: Path) -> None:
    first = "import sys, types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); import anonymizer"
    then = "from anonymizer.cli.doctor import _telemetry; print(_telemetry().level)"
    late = run_walled(tmp_path, sys.executable, "-c", f"{first}; {then}")
    assert "onnxruntime was imported before anonymizer" in late.stderr and late.stdout == "note\n"


def test_who_turned_telemetry_off_is_not_warned(tmp_path: Path) -> None:
    first = "import sys, types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); import anonymizer"
    then = "from anonymizer.cli.doctor import _telemetry; print(_telemetry().level)"
    done = run_walled(tmp_path, sys.executable, "-c", f"{first}; {then}", ORT_DISABLE_TELEMETRY="1")
    assert (done.stderr, done.stdout) == ("", "ok\n")


def arrange(tmp_path: Path) -> list[str]:
    """Write a picture with an annotated person and return the arguments of a run."""
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [20, 10, 40, 80]}
    coco = {"categories": [{"id": 1, "name": "person"}], "images": [{"id": 1, "file_name": "a.png"}]}
    (tmp_path / "coco.json").write_text(json.dumps(coco | {"annotations": [box]}))
    return ["run", "in", "out", "--annotations", "coco.json", "--seed", "1", "--json"]


def test_a_run_stays_off_the_network(tmp_path: Path) -> None:
    arguments = arrange(tmp_path)
    done = run(tmp_path, sys.executable, "-m", "anonymizer", *arguments)
    assert done.returncode in (0, 3), done.stderr
    record = json.loads((tmp_path / "out/ledger.jsonl").read_text())
    assert record["status"] in ("released", "quarantined"), record["reason"]
    # The parent, the worker and what multiprocessing adds were all under guard.
    assert len(set((tmp_path / "log.pids").read_text().split())) >= 2
    assert not (tmp_path / "log").exists(), (tmp_path / "log").read_text()
