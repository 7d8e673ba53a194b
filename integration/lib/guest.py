"""A booted system (lib/boot) that a program on the host acts upon from outside: calls in it, a look at its files, reboots, power cuts."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
NSENTER = shutil.which("nsenter")
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
# What lib/boot makes of the status of its script.
REBOOT, POWER_CUT, OVER = 77, 78, 0


class Guest:
    """The system over `rootfs`, with `program` in it, for as long as the `with` block lasts; at most for `limit` seconds."""

    def __init__(self, rootfs, program, limit, boots=1):
        self.arguments = [f"--limit={limit}", f"--boots={boots}", rootfs, program, "lib/stand.sh"]
        self.leader = self.tree = self.process = None

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([HERE / "boot", *self.arguments], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self._leave(OVER)
        except OSError:
            self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait()
        self.log.close()

    # ---- what is done in it ----

    def command(self, *arguments):
        """What runs a command in it, when it is run on the host with `ENVIRONMENT`."""
        return [NSENTER, f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--", *arguments]

    def call(self, *arguments, timeout=60):
        """Runs a command; its exit status and what it has said, both streams together."""
        done = subprocess.run(self.command(*arguments), env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, check=False)
        return done.returncode, done.stdout.decode(errors="replace").strip()

    def attempt(self, text, timeout=60):
        """Runs lines of bash that know what lib/guest.sh has, as `call` does."""
        return self.call("bash", "-c", f". /srv/integration/lib/guest.sh\n{text}", timeout=timeout)

    def script(self, text, timeout=60):
        """The same; what they say. They have to succeed."""
        status, said = self.attempt(text, timeout)
        if status != 0:
            raise SystemExit(f"guest: this ends with {status}:\n{text}\n{said}")
        return said

    def reboot(self):
        """As `systemctl reboot` does; returns when it stands again."""
        self._again(REBOOT)

    def cut_power(self):
        """Every process in it dies at once; what they had written stays. Returns when it stands again."""
        self._again(POWER_CUT)

    # ---- how it is found ----

    def _again(self, status):
        before = self.leader
        self._leave(status)
        self._wait(before)
        # A boot writes when something is wrong with it.
        self.log.seek(0)
        said = self.log.read().decode(errors="replace")
        if said:
            raise SystemExit(f"guest: {said}")

    def _leave(self, status):
        pathlib.Path(f"/proc/{self.leader}/root/run/leave").write_text(f"{status}\n")

    def _wait(self, before=None):
        """Until it stands: sets `leader`, its PID 1, and `tree`, its root, which outlasts a boot except for /run, /tmp and the like."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            self._continue_calls()
            leader = self._leader()
            if leader not in (None, before) and os.path.exists(f"/proc/{leader}/root/run/stands"):
                self.leader, self.tree = leader, self._tree()
                return
            time.sleep(0.05)
        self.log.seek(0)
        raise SystemExit(f"guest: the system does not come up ({self.process.poll()}): {self.log.read().decode(errors='replace')}")

    @staticmethod
    def _continue_calls():
        """When a system goes down, systemd stops all its processes for a moment. nsenter then stops as well, and for good: it would
        never see the end of its command, and the system could not end either."""
        for children in pathlib.Path("/proc/self/task").glob("*/children"):
            # Threads and children end when they like.
            with contextlib.suppress(OSError):
                for child in children.read_text().split():
                    os.kill(int(child), signal.SIGCONT)

    def _leader(self):
        """The descendant of boot that is number 1 two PID namespaces further down; below it are only processes of the guest."""
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            try:
                numbers = re.search(r"^NSpid:\s+(.+)$", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1].split()
                if len(numbers) >= 3 and numbers[-1] == "1":
                    return pid
                waiting += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except (OSError, TypeError):
                continue
        return None

    def _tree(self):
        """The overlay's mount as boot itself sees it."""
        mounts = pathlib.Path(f"/proc/{self.process.pid}/mountinfo").read_text()
        place = re.search(r"^\S+ \S+ \S+ / (\S+/root) .* - overlay ", mounts, re.MULTILINE)[1]
        return pathlib.Path(f"/proc/{self.process.pid}/root{place}")
