"""One run of a command under ptrace: the calls that change something, and what happens at one of them."""

import collections
import ctypes
import mmap
import os
import platform
import re
import signal
import struct

from ptrace import ENTRY, EXIT, EXITKILL, FOLLOW, GET_SYSCALL_INFO, SYSCALL, SYSGOOD, WALL, Registers, ptrace, start

# ---- system calls ----

# How the object is found in the arguments: f0 = descriptor in argument 0, p1 = path in argument 1, d1 = path in argument 1 relative to
# the directory in argument 0 (the argument before it). Several are joined.
CALLS = {
    "open": "p0", "creat": "p0", "openat": "d1", "openat2": "d1",
    "write": "f0", "pwrite64": "f0", "writev": "f0", "pwritev": "f0", "pwritev2": "f0",
    "sendfile": "f0", "copy_file_range": "f2", "splice": "f2",
    "truncate": "p0", "ftruncate": "f0", "fallocate": "f0",
    "rename": "p0 p1", "renameat": "d1 d3", "renameat2": "d1 d3",
    "link": "p0 p1", "linkat": "d1 d3", "symlink": "p1", "symlinkat": "d2",
    "unlink": "p0", "unlinkat": "d1", "mkdir": "p0", "mkdirat": "d1", "rmdir": "p0",
    "chmod": "p0", "fchmod": "f0", "fchmodat": "d1", "fchmodat2": "d1",
    "chown": "p0", "lchown": "p0", "fchown": "f0", "fchownat": "d1", "utimensat": "d1",
    "setxattr": "p0", "lsetxattr": "p0", "fsetxattr": "f0", "removexattr": "p0", "lremovexattr": "p0", "fremovexattr": "f0",
    "fsync": "f0", "fdatasync": "f0", "syncfs": "f0", "sync": "", "sync_file_range": "f0",
    "flock": "f0", "fcntl": "f0", "ioctl": "f0",
    "connect": "f0", "sendto": "f0", "sendmsg": "f0",
    "mknod": "p0", "mknodat": "d1", "mmap": "f4", "io_uring_enter": "",
}
NUMBERS = {
    "x86_64": {
        "write": 1, "open": 2, "mmap": 9, "ioctl": 16, "pwrite64": 18, "writev": 20, "sendfile": 40, "connect": 42, "sendto": 44, "sendmsg": 46,
        "fcntl": 72, "flock": 73, "fsync": 74, "fdatasync": 75, "truncate": 76, "ftruncate": 77, "rename": 82, "mkdir": 83, "rmdir": 84,
        "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "mknod": 133,
        "sync": 162, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
        "openat": 257, "mkdirat": 258, "mknodat": 259, "fchownat": 260, "unlinkat": 263, "renameat": 264, "linkat": 265, "symlinkat": 266,
        "fchmodat": 268, "splice": 275, "sync_file_range": 277, "utimensat": 280, "fallocate": 285, "pwritev": 296, "syncfs": 306,
        "renameat2": 316, "copy_file_range": 326, "pwritev2": 328, "io_uring_enter": 426, "openat2": 437, "fchmodat2": 452,
    },
    "aarch64": {
        "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "fcntl": 25, "ioctl": 29,
        "flock": 32, "mknodat": 33, "mkdirat": 34, "unlinkat": 35, "symlinkat": 36, "linkat": 37, "renameat": 38, "truncate": 45, "ftruncate": 46,
        "fallocate": 47, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "openat": 56, "write": 64, "writev": 66,
        "pwrite64": 68, "pwritev": 70, "sendfile": 71, "splice": 76, "sync": 81, "fsync": 82, "fdatasync": 83, "sync_file_range": 84,
        "utimensat": 88, "connect": 203, "sendto": 206, "sendmsg": 211, "mmap": 222, "syncfs": 267, "renameat2": 276, "copy_file_range": 285,
        "pwritev2": 287, "io_uring_enter": 426, "openat2": 437, "fchmodat2": 452,
    },
}
AT_FDCWD = -100
CREATING = os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)
LOCKING = {6, 7, 37, 38}  # F_SETLK, F_SETLKW and those of open file descriptions
CHANGING_IOCTLS = {0x40049409, 0x4020940D, 0x40086602}  # FICLONE, FICLONERANGE, FS_IOC_SETFLAGS

# ---- one traced run ----


class Tracer:
    """One run of a command under ptrace. `points` are those it passed, in order. A target is a point and what happens there: "before" or
    "after" for SIGKILL to everything at its entry (the call does not happen) or at its exit (it has happened), or an error number with
    which it fails without having happened."""

    def __init__(self, command, environment, chroot, root, output, target=None):
        self.command, self.environment, self.chroot, self.root = command, environment, chroot, str(root)
        self.output, self.target = output, target
        self.counts, self.points = collections.Counter(), []
        self.reached = self.killed = self.hung = False
        self.status = None
        self.names = {number: name for name, number in NUMBERS[platform.machine()].items()}
        self.buffer = ctypes.create_string_buffer(88)
        self.registers = Registers(platform.machine())

    def run(self, limit=30):
        """Runs it to its end, or for `limit` seconds; the wait status of the first process is left in `status`."""
        first = start(self.command, self.environment, self.chroot, self.output, SYSGOOD | FOLLOW | EXITKILL)
        tracees = {first}
        signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            ptrace(SYSCALL, first)
            self._follow(first, tracees)
        except InterruptedError:
            self.hung = True
            for pid in tracees:
                self._kill(pid)
            for pid in tracees:
                os.waitpid(pid, WALL)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _follow(self, first, tracees):
        inside = {}
        while tracees:
            pid, status = os.waitpid(-1, WALL)
            if not os.WIFSTOPPED(status):
                tracees.discard(pid)
                if pid == first:
                    self.status = status
                continue
            passed_on = 0
            if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
                if self._at_call(pid, inside):
                    self.killed = True
                    for other in tracees | {pid}:
                        self._kill(other)
            elif status >> 16 == 0:
                passed_on = os.WSTOPSIG(status)
            if pid not in tracees:
                tracees.add(pid)
                if self.killed:
                    self._kill(pid)
            ptrace(SYSCALL, pid, None, passed_on)

    @staticmethod
    def _kill(pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _at_call(self, pid, inside):
        """Whether this is the place to kill; where a call is to fail, it does."""
        if ptrace(GET_SYSCALL_INFO, pid, len(self.buffer), ctypes.addressof(self.buffer)) <= 0:
            return False
        if self.buffer.raw[0] == EXIT:
            point = inside.pop(pid, None)
            if point is None or self.target is None or self.target[0] != point:
                return False
            if isinstance(self.target[1], int):
                self.registers.fail(pid, self.target[1])
            return self.target[1] == "after"
        if self.buffer.raw[0] != ENTRY:
            return False
        number, *arguments = struct.unpack_from("=Q6Q", self.buffer.raw, 24)
        name = self.names.get(number)
        key = self._key(pid, name, arguments) if name else None
        if key is None:
            return False
        self.counts[key] += 1
        point = (*key, self.counts[key])
        self.points.append(point)
        inside[pid] = point
        if self.target is None or self.target[0] != point:
            return False
        self.reached = True
        if isinstance(self.target[1], int):
            self.registers.skip(pid)
        return self.target[1] == "before"

    def _key(self, pid, name, arguments):
        """The name of the call and its object, or None when it changes nothing."""
        try:
            if not self._changes(pid, name, arguments):
                return None
            objects = [self._object(pid, how, arguments) for how in CALLS[name].split()]
        except (OSError, ProcessLookupError):
            return None
        # Wake-ups between threads and processes change nothing that stays, and their number is never the same.
        if any(text.startswith(("anon_inode:", "pipe:")) for text in objects):
            return None
        return name, " → ".join(objects)

    def _changes(self, pid, name, arguments):
        if name in ("open", "openat"):
            return arguments[1 if name == "open" else 2] & CREATING
        if name == "openat2":
            return struct.unpack("=Q", self._memory(pid, arguments[2], 8))[0] & CREATING
        if name == "fcntl":
            return arguments[1] in LOCKING
        if name == "mmap":
            # Only what is shared and writable can reach a file.
            return arguments[2] & mmap.PROT_WRITE and arguments[3] & mmap.MAP_SHARED and not arguments[3] & mmap.MAP_ANONYMOUS
        if name == "ioctl":
            return arguments[1] in CHANGING_IOCTLS
        return True

    def _object(self, pid, how, arguments):
        position = int(how[1])
        if how[0] == "f":
            return self._descriptor(pid, arguments[position])
        path = self._text(pid, arguments[position])
        if how[0] == "d" and not path.startswith("/"):
            directory = self._descriptor(pid, arguments[position - 1])
            path = f"{directory}/{path}" if path else directory
        return self._plain(path)

    def _descriptor(self, pid, value):
        number = ctypes.c_int(value & 0xFFFFFFFF).value
        if number in (1, 2):
            return "standard output"
        link = f"/proc/{pid}/cwd" if number == AT_FDCWD else f"/proc/{pid}/fd/{number}"
        return self._plain(os.readlink(link))

    def _plain(self, text):
        """Without what differs from run to run."""
        text = text.replace(str(self.root), "ROOT")
        if self.chroot:
            text = text.replace(f"{self.chroot}/", "/")
            text = text.replace("/mnt/root", "ROOT")
        text = re.sub(r"^socket:\[\d+\]", "socket", text)
        text = re.sub(r" \(deleted\)$", "", text)
        text = re.sub(r"/proc/\d+/", "/proc/#/", text)
        text = re.sub(r"#\d+$", "#", text)
        return re.sub(r"[0-9a-f]{12,}|\.tmp\w{6}", "#", text)

    def _text(self, pid, address):
        if address == 0:
            return ""
        return self._memory(pid, address, 4096).split(b"\0", 1)[0].decode(errors="replace")

    @staticmethod
    def _memory(pid, address, length):
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            # Short at the end of a mapping, which is after the end of the string.
            try:
                return memory.read(length)
            except OSError:
                memory.seek(address)
                return memory.read(4096 - address % 4096)
