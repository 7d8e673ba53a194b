"""Two root trees that are told the same, one for each tool, and what can be seen of them after each call."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import time

import table

# Where scenarios lay things out, and where the tools may change something. What is not here is one tool's own record.
PLACES = ("srv", "opt", "efi", "etc/sysupdate.d", "run/sysupdate.d", "usr/lib/sysupdate.d", "usr/local/lib/sysupdate.d",
          "var/lib/systemd/sysupdate")
# What scenarios leave in these is removed before the next.
GLOBS = ("etc/sysupdate*", "run/sysupdate*", "usr/lib/sysupdate*", "usr/local/lib/sysupdate*", "var/lib/sysupdate", "var/cache/sysupdate",
         "var/lib/systemd/sysupdate", "srv", "opt", "efi", "etc/machine-info", "etc/systemd/import-pubring.*", "run/reboot-required*")
# An hour long ago: whatever has such a time got it from the scenario.
OLD = 1_600_000_000
RECENT = 1_790_000_000


class Difference(Exception):
    """The two tools did not do the same."""

    def __init__(self, kind, call, ours, theirs):
        super().__init__(kind)
        self.kind, self.call, self.ours, self.theirs = kind, call, ours, theirs
        self.results = None


class Result:
    """What a call has shown."""

    def __init__(self, done):
        self.code = done.returncode
        self.stdout = normalized(done.stdout)
        self.stderr = done.stderr


def normalized(text):
    """stdout without what names the same partition in two ways, and without the widths that follow from that."""
    # Times that are not the scenario's: of downloads, and of what it made by hand.
    text = re.sub(r"[A-Z][a-z]{2} 20(?:2[6-9]|[3-9]\d)-\d\d-\d\d \d\d:\d\d:\d\d UTC", "Xxx 0000-00-00 00:00:00 UTC", text)
    text = re.sub(r'"mtime" ?: ?1[789]\d{14}', '"mtime":0', text)
    if "/proc/self/fd/" in text or "disk.img" in text:
        text = re.sub(r"/proc/self/fd/\d+p(\d+)|/srv/disk\.img(\d+)", lambda found: f"PARTITION{found[1] or found[2]}", text)
        text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
    return text


class Side:
    """One root tree and the tool that works on it."""

    def __init__(self, root, program):
        self.root, self.program = pathlib.Path(root), program

    def reset(self):
        for glob in GLOBS:
            for path in self.root.glob(glob):
                if path.is_dir() and not path.is_symlink():
                    subprocess.run(["chattr", "-R", "-i", path], check=False, capture_output=True)
                    shutil.rmtree(path)
                else:
                    path.unlink()
        for place in ("srv", "opt", "efi"):
            (self.root / place).mkdir()

    def call(self, arguments, environment, program=None):
        variables = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "TERM": "dumb", "TZ": "UTC", "NO_COLOR": "1", **environment}
        # `exec` in a chroot: no shell, no second program.
        done = subprocess.run([program or self.program, *arguments], capture_output=True, text=True, errors="replace", env=variables, check=False,
                              timeout=60, preexec_fn=lambda: (os.chroot(self.root), os.chdir("/")))
        return Result(done)

    def interrupted(self, program, arguments, seconds):
        """Starts a tool and kills it after so long."""
        variables = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "TERM": "dumb", "TZ": "UTC"}
        with subprocess.Popen([program, *arguments], env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                              preexec_fn=lambda: (os.chroot(self.root), os.chdir("/"))) as running:
            time.sleep(seconds)
            # The original's helpers too.
            os.killpg(running.pid, signal.SIGKILL)

    def seen(self):
        found = {}
        for place in PLACES:
            top = self.root / place
            if top.exists():
                self.look(top, found)
        for top in self.root.glob("etc/sysupdate.*"):
            self.look(top, found)
        return found

    def look(self, path, found):
        name = "/" + str(path.relative_to(self.root))
        # One tool's own records below another root.
        if name in ("/srv/root/run", "/srv/root/var/lib/sysupdate", "/srv/root/var/cache"):
            return
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        changed = status.st_mtime_ns if status.st_mtime < RECENT else "now"
        base = path.name
        if base.startswith(".sysupdate.partial."):
            # How much of what is of no use is left is each tool's own business.
            found[name] = "partial"
            return
        if kind == stat.S_IFLNK:
            found[name] = f"-> {os.readlink(path)}"
            return
        facts = [oct(status.st_mode), status.st_uid, status.st_gid]
        if kind == stat.S_IFDIR:
            if changed != "now" and name != "/srv/t":
                facts.append(changed)
            found[name] = facts
            for entry in sorted(path.iterdir()):
                self.look(entry, found)
        elif kind == stat.S_IFREG and base == "disk.img":
            found[name] = disk(path)
        elif kind == stat.S_IFREG:
            found[name] = [*facts, changed, status.st_nlink, hashlib.sha256(path.read_bytes()).hexdigest()[:12]]
        else:
            found[name] = [*facts, status.st_rdev]


def disk(path):
    """The partitions of an image, by both copies of its table, which have to agree; and what is in them."""
    data = path.read_bytes()
    first, other = table.copies(data)
    if first is None or first != other:
        return "the two copies of the table are not whole and equal"
    # Bytes of a partition that holds nothing whole are nobody's.
    return [[number, kind, unique, hex(flags), label, hashlib.sha256(content).hexdigest()[:12] if kind == table.GENERIC and label != "_empty" else "-"]
            for number, kind, unique, flags, label, content in table.partitions(data, first)]


class World:
    """Both sides, told the same."""

    def __init__(self, ours, theirs, accepted):
        self.sides, self.accepted = (ours, theirs), accepted
        self.used, self.calls, self.tags = [], 0, set()

    def reset(self):
        self.used, self.calls, self.tags = [], 0, set()
        for side in self.sides:
            side.reset()

    # ---- laying out ----

    def write(self, path, content="", mode=0o644, when=OLD):
        data = content if isinstance(content, bytes) else content.encode()
        for side in self.sides:
            target = side.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(mode)
            os.utime(target, (when, when))

    def remove(self, path):
        for side in self.sides:
            target = side.root / path
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            elif target.exists() or target.is_symlink():
                target.unlink()

    def link(self, path, text):
        self.remove(path)
        for side in self.sides:
            target = side.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(text)

    def directory(self, path, files=(("f", "content"),), mode=0o755, when=OLD):
        for name, content in files:
            self.write(f"{path}/{name}", content)
        for side in self.sides:
            target = side.root / path
            target.mkdir(parents=True, exist_ok=True)
            for below in sorted(target.rglob("*"), reverse=True):
                if below.is_dir():
                    os.utime(below, (when, when))
            target.chmod(mode)
            os.utime(target, (when, when))

    def define(self, name="10-a", source=None, target=None, transfer=None, place="etc/sysupdate.d", suffix=".transfer"):
        lines = ["[Transfer]", *settings({"Verify": "no", **(transfer or {})}), "[Source]", *settings(source or {}),
                 "[Target]", *settings(target or {})]
        self.write(f"{place}/{name}{suffix}", "\n".join(lines) + "\n")

    # ---- calls ----

    def call(self, *arguments, stderr=None, **environment):
        """Calls both tools and compares; `stderr` picks the lines of it that count."""
        self.calls += 1
        ours, theirs = (side.call(arguments, environment) for side in self.sides)
        results = (ours, theirs)
        self.compare("exit code", arguments, ours.code, theirs.code, results)
        if "--json=short" in arguments or "--json=pretty" in arguments:
            self.compare("json", arguments, parsed(ours.stdout), parsed(theirs.stdout), results)
        else:
            self.compare("stdout", arguments, ordered(arguments, ours.stdout), ordered(arguments, theirs.stdout), results)
        if stderr:
            kept = [[line for line in result.stderr.splitlines() if re.search(stderr, line) and "Did you mean" not in line] for result in results]
            self.compare("stderr", arguments, *kept, results)
        seen = [side.seen() for side in self.sides]
        if seen[0] != seen[1]:
            names = sorted(name for name in {*seen[0], *seen[1]} if seen[0].get(name) != seen[1].get(name))
            self.compare("tree", arguments, *({name: one.get(name) for name in names} for one in seen), results)

    def compare(self, kind, call, ours, theirs, results):
        if ours == theirs:
            return
        difference = Difference(kind, call, ours, theirs)
        difference.results, difference.tags = results, self.tags
        difference.partial = {path.name for path in (self.sides[0].root / "srv/t").glob(".sysupdate.partial.*")}
        for rule in self.accepted:
            if rule.applies(difference):
                self.used.append(rule.name)
                if rule.ends:
                    raise Accepted
                return
        raise difference


def ordered(arguments, text):
    """The rows of `features` in order: the original's has none."""
    lines = text.split("\n")
    if "features" in arguments and len(lines) > 3 and lines[0].startswith("ENABLED"):
        return "\n".join([lines[0], *sorted(lines[1:])])
    return text


class Accepted(Exception):
    """The two tools did not do the same, for a reason that stands in the list, and go different ways from here on."""


def parsed(text):
    try:
        found = json.loads(normalized(text)) if text.strip() else None
        if isinstance(found, dict) and isinstance(found.get("features"), list):
            # The original's have no order.
            found["features"].sort()
        return found
    except ValueError:
        return text


def settings(values):
    for key, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield f"{key}={one}"
