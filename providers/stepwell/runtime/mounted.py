"""What is mounted below a folder: made read-only, let go of, and never deleted through.

A job directory may hold mounts of data that belongs to somebody else. So whoever removes one lets go of them first, and
removes nothing while one is left.
"""

from __future__ import annotations

import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TABLE = "/proc/self/mountinfo"
_TIMES = 50  #: mounts may lie on top of one another
_FUSERMOUNT_SECONDS = 10.0


def below(folder: str) -> list[str]:
    """Return the mount points at and below *folder*, the innermost first. No mount is touched: a dead one hangs."""
    # A folder that is a mount itself must not be looked at, but its parents may be links.
    top = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(folder))), os.path.basename(folder))
    return sorted((p for p in _points() if p == top or p.startswith(top.rstrip("/") + "/")), key=len, reverse=True)


def _points() -> list[str]:
    try:
        with open(_TABLE, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return []  # no such table, no such mounts: they are made on Linux only
    return [os.fsdecode(_plain(line.split(b" ", 5)[4])) for line in lines]


def _plain(path: bytes) -> bytes:
    """Undo the table's escapes: a space stands there as a backslash and 040."""
    if b"\\" not in path:
        return path
    first, *rest = path.split(b"\\")
    return first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest)


def release(folder: str) -> list[str]:
    """Unmount all that is mounted at and below *folder*, also what hangs or is in use; return what could not be."""
    for _ in range(_TIMES):
        left = below(folder)
        if not any([_unmount(point) for point in left]):
            return left
    return below(folder)


def remove(path: str) -> None:
    """Remove a file or a folder with all that is in it, as far as that can be; what is mounted there stays as it is.

    :raises OSError: something is mounted below it and cannot be unmounted; nothing was removed.
    """
    left = release(path)
    if left:
        raise OSError(errno.EBUSY, f"Nothing below {path} is removed while {', '.join(left)} is mounted and cannot be "
                      "unmounted from here (as root: umount --lazy)")  # fmt: skip
    if os.path.isdir(path) and not os.path.islink(path):
        import shutil

        shutil.rmtree(path, True)
    else:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass


def bind(source: str, target: str) -> None:
    """Make the folder *source* visible at *target*, read-only from the first moment on.

    The old way, a bind that is made read-only in a second step, is no way: killed in between, it leaves somebody's data
    in a job directory, for the next one who cleans up.

    :raises OSError: this process may not, or the kernel cannot (before Linux 5.12).
    """
    import ctypes

    here, empty_path, recursive, clone = -100, 0x1000, 0x8000, 1
    read_only, no_suid, no_devices, private = 1, 2, 4, 1 << 18
    tree = _call(428, ctypes.c_int(here), os.fsencode(source), ctypes.c_uint(clone | recursive | os.O_CLOEXEC))
    try:
        wanted = struct.pack("QQQQ", read_only | no_suid | no_devices, 0, private, 0)
        flags = ctypes.c_uint(empty_path | recursive)
        _call(442, ctypes.c_int(tree), b"", flags, wanted, ctypes.c_size_t(len(wanted)))
        _call(429, ctypes.c_int(tree), b"", ctypes.c_int(here), os.fsencode(target), ctypes.c_uint(4))
    finally:
        os.close(tree)


def _call(number: int, *arguments: Any) -> int:
    """Make a system call that has no wrapper in older C libraries; these have the same number on every processor."""
    import ctypes

    result = int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _unmount(point: str) -> bool:
    """Detach one mount: those who use it keep it until they end; return whether that was done."""
    import ctypes

    detach, no_follow = 2, 8
    if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(point), detach | no_follow) == 0:
        return True
    import subprocess

    for program in ("fusermount3", "fusermount"):  # for those who are not root, and their own mounts
        try:
            command = [program, "-u", "-z", "--", point]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_FUSERMOUNT_SECONDS, check=False
            )
            return done.returncode == 0
        except FileNotFoundError:
            continue
        except (OSError, subprocess.SubprocessError):
            return False
    return False
