"""The ptrace(2) calls that the crash harness needs."""

import ctypes
import os

SYSCALL, SEIZE, INTERRUPT, GET_SYSCALL_INFO = 24, 0x4206, 0x4207, 0x420E
# Options: mark stops at system calls; follow fork, vfork, clone and exec; take the tracees along when the tracer dies.
SYSGOOD, FOLLOW, EXITKILL = 0x1, 0x2 | 0x4 | 0x8 | 0x10, 0x100000
ENTRY, EXIT = 1, 2
WALL = 0x40000000
NO_SUCH_PROCESS = 3

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def ptrace(request, pid, address=None, data=None):
    """The system call. A tracee that has died in the meantime is no error: its end is reported by waitpid."""
    result = libc.ptrace(request, pid, address, data)
    if result < 0 and ctypes.get_errno() != NO_SUCH_PROCESS:
        raise OSError(ctypes.get_errno(), f"ptrace request {request:#x} failed")
    return result


def start(command, environment, chroot, output, options):
    """Starts a command as a tracee that goes on with the next SYSCALL request; its process id. It is seized, not asked to trace itself,
    so that new threads report themselves by an event that no signal can be mistaken for."""
    streams = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(null, 0)
            os.dup2(streams, 1)
            os.dup2(streams, 2)
            if chroot:
                os.chroot(chroot)
            os.chdir("/")
            os.read(gate, 1)
            os.closerange(3, 256)
            os.execve(command[0], command, environment)
        finally:
            os._exit(127)
    for descriptor in (gate, streams, null):
        os.close(descriptor)
    ptrace(SEIZE, pid, None, options)
    ptrace(INTERRUPT, pid)
    os.waitpid(pid, WALL)
    os.write(opener, b"x")
    os.close(opener)
    return pid


class Registers:
    """The registers of a tracee that is stopped at a system call, as far as a call is replaced by an error."""

    GETREGSET, SETREGSET, PRSTATUS, ARM_SYSTEM_CALL = 0x4204, 0x4205, 1, 0x404

    class _Vector(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    def __init__(self, machine):
        self.machine = machine
        # struct user_regs_struct: rax is the 11th of 27 words, orig_rax the 16th; on aarch64 x0 is the first of 34.
        self.words, self.result = {"x86_64": (27, 10), "aarch64": (34, 0)}[machine]

    def skip(self, pid):
        """At the entry of a call: it does not happen."""
        if self.machine == "aarch64":
            number = ctypes.c_int(-1)
            vector = self._Vector(ctypes.addressof(number), ctypes.sizeof(number))
            ptrace(self.SETREGSET, pid, self.ARM_SYSTEM_CALL, ctypes.addressof(vector))
        else:
            self._change(pid, 15, -1)

    def fail(self, pid, number):
        """At its exit: it has failed with this error number."""
        self._change(pid, self.result, -number)

    def _change(self, pid, word, value):
        words = (ctypes.c_long * self.words)()
        vector = self._Vector(ctypes.addressof(words), ctypes.sizeof(words))
        ptrace(self.GETREGSET, pid, self.PRSTATUS, ctypes.addressof(vector))
        words[word] = value
        ptrace(self.SETREGSET, pid, self.PRSTATUS, ctypes.addressof(vector))
