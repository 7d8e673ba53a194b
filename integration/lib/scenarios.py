"""What the crash harness interrupts: a root tree in some state, one call of the program, and what has to hold afterwards whatever
happened to that call.

A scenario says how the tree comes about, which call is interrupted and which one follows. What is checked is the same for all of them:
each file under a final name is whole, each current symlink resolves to a whole file of a version that may be current, and after the
call that follows the tree is the one that an undisturbed call leaves behind, byte for byte."""

import collections
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import time

import table
from tracer import Tracer

Artifact = collections.namedtuple("Artifact", "name directory link")

TRANSFER = """[Transfer]
Verify=no
{transfer}
[Source]
Type=url-file
Path={url}
MatchPattern={name}-@v.img

[Target]
Type=regular-file
Path=/{directory}
MatchPattern={name}-@v.img
InstancesMax=3
{target}"""

# What may differ from run to run, as it holds times, or is a courtesy that a sick system may cost.
VOLATILE = ("var/lib/sysupdate/marks/", "var/lib/sysupdate/seen/", "run/")
IGNORED = ("var/lib/sysupdate/history.jsonl", "var/cache")
# What is state of the program's own: it may be missing where it could not be written.
STATE = ("var/lib/sysupdate", "var/cache", "run")


class Scenario:
    """The plain update of one file with a current symlink, from version 1 to version 2."""

    name = "update"
    artifacts = (Artifact("app", "var/lib/app", "var/lib/app/current/app.img"),)
    interrupted = following = ("update",)
    # How a call ends that nothing disturbs, and the one that follows a disturbed one.
    ends = (0,)
    # The versions that a link may lead to after the interruption and at the end; None: to nothing.
    meanwhile, finally_ = (1, 2), (2,)
    # Versions whose files must be there at any time.
    standing = (1,)
    # Whether the call cannot do without free bytes and inodes.
    needs_room = True
    # Whether the file system has a mark for what cannot be changed; an error may say that it has none.
    has_marks = True

    def __init__(self, work, program, chroot, server):
        self.program, self.chroot, self.server = program, chroot, server
        self.root, self.template = work / "root", work / "template"
        self.output = work / "output"
        self.environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "SYSTEMD_LOG_LEVEL": "info"}
        self.digests = {}
        self.final = None

    # ---- what differs ----

    def lay_out(self):
        """Brings the tree into the state before the interrupted call."""
        self.define()
        self.publish(1)
        self.expect_success("update")
        self.publish(2)

    # ---- tools for it ----

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def define(self, transfer="", target=""):
        for artifact in self.artifacts:
            link = ""
            if artifact.link:
                # With --root= and an absolute link that stands already, systemd-sysupdate 262.1 follows it and replaces version 1
                # itself by a link to version 2: for it, the link lies below the target path.
                text = os.path.relpath(artifact.link, artifact.directory) if self.chroot else f"/{artifact.link}"
                link = f"CurrentSymlink={text}\n"
            text = TRANSFER.format(name=artifact.name, directory=artifact.directory, url=self.server.url, transfer=transfer, target=link + target)
            self.write(f"etc/sysupdate.d/{artifact.name}.transfer", text)
            (self.root / artifact.directory).mkdir(parents=True, exist_ok=True)

    def publish(self, version):
        for artifact in self.artifacts:
            data = hashlib.shake_256(f"{artifact.name} {version}".encode()).digest(300_000)
            name = self.file_name(artifact, version)
            self.digests[name] = hashlib.sha256(data).hexdigest()
            (self.server.root / name).write_bytes(data)
            age = time.time() - 10_000_000 + version
            os.utime(self.server.root / name, (age, age))
        manifest = self.server.root / "SHA256SUMS"
        manifest.write_text("".join(f"{digest}  {name}\n" for name, digest in self.digests.items()))
        # What was changed within the last moments cannot be cached by its date, and then no two runs would be the same.
        age = time.time() - 7200 + 60 * version
        os.utime(manifest, (age, age))

    def expect_success(self, *arguments):
        self.expect(self.plain(arguments), *arguments)

    def expect(self, status, *arguments):
        if status != 0:
            raise SystemExit(f"{self.name}: '{' '.join(arguments)}' without a disturbance ends with {status}:\n{self.output.read_text()}")

    @staticmethod
    def file_name(artifact, version):
        return f"{artifact.name}-{version}.img"

    def paths(self):
        """What the tree consists of."""
        return self.root.rglob("*")

    # ---- runs ----

    def prepare(self):
        """Makes the tree, and finds out what the call leaves behind when nothing happens to it."""
        for name in ("etc", "var/cache", "run", "tmp"):
            (self.root / name).mkdir(parents=True)
        self.write("etc/os-release", "ID=test\nVERSION_ID=1\n")
        self.lay_out()
        shutil.copytree(self.root, self.template, symlinks=True)
        self.expect_success(*self.interrupted)
        self.expect(self.follow(), *self.following)
        problem = self.broken(self.finally_)
        if problem:
            raise SystemExit(f"{self.name}: without a disturbance: {problem}")
        self.final = self.snapshot()

    def reset(self):
        shutil.rmtree(self.root)
        shutil.copytree(self.template, self.root, symlinks=True)
        self.settle()

    def settle(self):
        """Gives the tree what a copy does not take along."""

    def tidy(self):
        """Makes it possible to remove the tree."""

    def command(self, arguments):
        root = "/mnt/root" if self.chroot else str(self.root)
        return [self.program, f"--root={root}", *arguments]

    def traced(self, target=None):
        tracer = Tracer(self.command(self.interrupted), self.environment, self.chroot, self.root, self.output, target)
        tracer.run()
        return tracer

    def plain(self, arguments):
        """A run without anything special; its exit status."""
        prefix = ["chroot", self.chroot] if self.chroot else []
        with open(self.output, "wb") as output:
            done = subprocess.run(prefix + self.command(arguments), env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                                  stderr=output, timeout=60, check=False)
        return done.returncode

    def follow(self):
        """The call that follows; its exit status."""
        return self.plain(self.following)

    # ---- judgements ----

    def broken(self, allowed):
        """What is wrong with the links and the artifacts, or nothing."""
        for artifact in self.artifacts:
            problem = self.broken_files(artifact) or artifact.link and self.broken_link(artifact, allowed)
            if problem:
                return problem
        return None

    def broken_files(self, artifact):
        directory = self.root / artifact.directory
        for path in directory.iterdir():
            if path.name in self.digests and not path.is_symlink() and digest(path) != self.digests[path.name]:
                return f"'{path.name}' is not whole"
        for version in self.standing:
            if not (directory / self.file_name(artifact, version)).is_file():
                return f"version {version} of {artifact.name} is gone"
        return None

    def broken_link(self, artifact, allowed):
        link = self.root / artifact.link
        if not link.is_symlink():
            return None if None in allowed and not link.exists() else "the symlink is gone"
        try:
            found = digest(link)
        except OSError as error:
            return f"the symlink resolves to nothing: {error.strerror}"
        names = [name for name, one in self.digests.items() if one == found]
        if not names:
            return f"the symlink resolves to something that is not whole: '{os.readlink(link)}'"
        if names[0] not in [self.file_name(artifact, version) for version in allowed if version]:
            return f"the symlink resolves to '{names[0]}'"
        return None

    def snapshot(self):
        """The tree: kind, mode, content; the times of artifacts."""
        found = {}
        for path in self.paths():
            name = str(path.relative_to(self.root))
            status = path.lstat()
            volatile = name.startswith(VOLATILE)
            line = [stat.filemode(status.st_mode)]
            if stat.S_ISLNK(status.st_mode):
                line = ["link", os.readlink(path)]
            elif stat.S_ISREG(status.st_mode) and not volatile:
                line.append(digest(path))
                if path.name in self.digests:
                    line.append(str(int(status.st_mtime)))
            # An empty directory of the program's state means as much as none.
            empty = path.is_dir() and not path.is_symlink() and name.startswith("var/lib/sysupdate/") and not any(path.iterdir())
            if not name.startswith(IGNORED) and not empty:
                found[name] = " ".join(line)
        return found

    def unlike_final(self, passing=()):
        """How the tree differs from that of an undisturbed run, except for what is passed over, or nothing."""
        return self.unlike(self.final, passing)

    def unlike(self, wanted, passing=()):
        """The same for any snapshot."""
        found = self.snapshot()
        names = sorted(name for name in found.keys() | wanted.keys() if not name.startswith(tuple(passing)))
        differences = [name for name in names if found.get(name) != wanted.get(name)]
        if not differences:
            return None
        return "; ".join(f"{name}: {found.get(name, 'missing')}, not {wanted.get(name, 'missing')}" for name in differences[:4])

    def judge(self):
        """What is wrong after the interruption, and after the call that follows, or nothing."""
        try:
            problem = self.broken(self.meanwhile)
            if problem:
                return f"afterwards: {problem}"
            status = self.follow()
            last = (self.output.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
            if status not in self.ends:
                return f"the second run ends with {status}: {last}"
            problem = self.broken(self.finally_) or self.unlike_final()
            if problem:
                return f"after the second run: {problem} ({last})"
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        return None


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def is_immutable(path):
    # The first column is the flags, and the path may hold any letter.
    return "i" in subprocess.run(["lsattr", "-d", path], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0]


class FirstInstall(Scenario):
    """Nothing is installed before."""

    name = "first-install"
    meanwhile, finally_, standing = (None, 1), (1,), ()

    def lay_out(self):
        self.define()
        self.publish(1)


class Three(Scenario):
    """Three transfers, one of them without a current symlink; an old version goes."""

    name = "three"
    artifacts = (
        Artifact("app", "var/lib/app", "var/lib/app/current/app.img"),
        Artifact("lib", "var/lib/lib", "var/lib/lib.img"),
        Artifact("plain", "srv/plain", None),
    )
    meanwhile, finally_, standing = (3, 4), (4,), (3,)

    def lay_out(self):
        self.define()
        for version in (1, 2, 3):
            self.publish(version)
            self.expect_success("update")
        self.publish(4)


class Acquire(Scenario):
    """Only acquired; what follows installs it."""

    name = "acquire"
    interrupted, meanwhile = ("acquire",), (1,)


class Offline(Scenario):
    """What is acquired is installed without network."""

    name = "offline"
    interrupted = ("--offline", "update")

    def lay_out(self):
        super().lay_out()
        self.expect_success("acquire")


class Resume(Scenario):
    """An update that was cut off in the middle of its download."""

    name = "resume"

    def lay_out(self):
        super().lay_out()
        whole = self.server.root / "app-2.img"
        data = whole.read_bytes()
        whole.write_bytes(data[:150_000])
        self.plain(("update",))
        whole.write_bytes(data)
        age = time.time() - 10_000_000 + 2
        os.utime(whole, (age, age))


class Vacuum(Scenario):
    """More versions than are kept, and leftovers of others."""

    name = "vacuum"
    needs_room = False
    interrupted = following = ("-m", "2", "vacuum")
    meanwhile, finally_, standing = (3,), (3,), (2, 3)

    def lay_out(self):
        self.define()
        for version in (1, 2, 3):
            self.publish(version)
            self.expect_success("update")
        for name in (".sysupdate.partial.app-9.img", ".sysupdate.pending.app-8.img", ".sysupdate.partial.other"):
            self.write(f"var/lib/app/{name}", "left behind")


class Disabled(Scenario):
    """A feature that is off: what its transfer has installed goes with the next update."""

    name = "disabled"
    artifacts = (Scenario.artifacts[0], Artifact("extra", "srv/extra", None))
    standing = ()

    def lay_out(self):
        self.write("etc/sysupdate.d/extras.feature", "[Feature]\nDescription=Extras\nEnabled=yes\n")
        self.define()
        extra = self.root / "etc/sysupdate.d/extra.transfer"
        extra.write_text(extra.read_text().replace("[Transfer]", "[Transfer]\nFeatures=extras", 1))
        self.publish(1)
        self.expect_success("update")
        self.write("etc/sysupdate.d/extras.feature", "[Feature]\nDescription=Extras\nEnabled=no\n")
        self.publish(2)


class Cleanup(Scenario):
    """Nothing defines any more what is installed."""

    name = "cleanup"
    needs_room = False
    interrupted = following = ("cleanup",)
    meanwhile, finally_, standing = (None, 2), (None,), ()

    def lay_out(self):
        self.define()
        for version in (1, 2):
            self.publish(version)
            self.expect_success("update")
        shutil.rmtree(self.root / "etc/sysupdate.d")


class Tree(Scenario):
    """Archives that become directories; the oldest goes when the newest stands."""

    name = "tree"
    target = ""
    directory, link = "var/lib/app", "var/lib/app/current"
    artifacts = ()
    meanwhile, finally_, standing = (2, 3), (3,), (2,)

    def lay_out(self):
        self.write("etc/sysupdate.d/app.transfer", TRANSFER.format(name="app", directory=self.directory, url=self.server.url, transfer="", target="")
                   .replace("Type=url-file", "Type=url-tar").replace("Type=regular-file", "Type=directory").replace(".img", ".tar", 1).replace("app-@v.img", "app-@v")
                   .replace("InstancesMax=3", "InstancesMax=2") + f"CurrentSymlink=current\n{self.target}")
        for version in (1, 2):
            self.publish(version)
            self.expect_success("update")
        self.publish(3)

    def publish(self, version):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tape:
            for name, content in self.content(version).items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = len(content), 1_600_000_000, 0o640
                tape.addfile(entry, io.BytesIO(content))
            link = tarfile.TarInfo("link")
            link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "sub/version", 1_600_000_000
            tape.addfile(link)
        name = f"app-{version}.tar"
        (self.server.root / name).write_bytes(data.getvalue())
        self.digests[name] = hashlib.sha256(data.getvalue()).hexdigest()
        manifest = self.server.root / "SHA256SUMS"
        manifest.write_text("".join(f"{digest}  {name}\n" for name, digest in self.digests.items()))
        age = time.time() - 7200 + 60 * version
        os.utime(manifest, (age, age))

    @staticmethod
    def content(version):
        return {"sub/version": str(version).encode(), "large": hashlib.shake_256(f"tree {version}".encode()).digest(200_000)}

    def broken(self, allowed):
        directory = self.root / self.directory
        for version in (1, 2, 3):
            tree = directory / f"app-{version}"
            if tree.exists():
                for name, content in self.content(version).items():
                    if not (tree / name).is_file() or (tree / name).read_bytes() != content:
                        return f"'{name}' of version {version} is not whole"
            elif version in self.standing:
                return f"version {version} is gone"
        found = (self.root / self.link / "sub/version")
        if not found.is_file():
            return "the symlink resolves to nothing"
        return None if int(found.read_text()) in allowed else f"the symlink resolves to version {found.read_text()}"

    def reset(self):
        self.tidy()
        super().reset()

    def tidy(self):
        subprocess.run(["chattr", "-R", "-i", self.root], check=False, stderr=subprocess.DEVNULL)


class SealedTree(Tree):
    """The same, and what is installed cannot be changed."""

    name = "sealed-tree"
    target = "ReadOnly=yes\n"

    def settle(self):
        for tree in (self.root / self.directory).glob("app-*"):
            subprocess.run(["chattr", "+i", tree], check=True)

    def snapshot(self):
        found = super().snapshot()
        for tree in (self.root / self.directory).glob("app-*") if self.has_marks else ():
            found[str(tree.relative_to(self.root))] += " immutable" if is_immutable(tree) else " changeable"
        return found

    def unlike(self, wanted, passing=()):
        return super().unlike(wanted if self.has_marks else {name: line.removesuffix(" immutable") for name, line in wanted.items()}, passing)


class TreeVacuum(Tree):
    """Directories go."""

    name = "tree-vacuum"
    needs_room = False
    interrupted = following = ("-m", "1", "vacuum")
    meanwhile, finally_ = (2,), (2,)


class Partitions(Scenario):
    """Full partitions: the oldest version goes, the newest but one stays whatever happens."""

    name = "partitions"
    # The room is there already; what of its own state the program cannot write then, it does without.
    needs_room = False
    artifacts = ()
    labels, target = ("_empty", "_empty"), ""
    meanwhile, finally_, standing = (2, 3), (3,), (2,)

    def lay_out(self):
        (self.root / "srv").mkdir()
        (self.root / "srv/disk.img").write_bytes(table.image(self.labels))
        self.write("etc/sysupdate.d/app.transfer", TRANSFER.format(name="app", directory="srv/disk.img", url=self.server.url, transfer="", target=self.target)
                   .replace("Type=regular-file", "Type=partition").replace("/srv/disk.img\nMatchPattern=app-@v.img", "/srv/disk.img\nMatchPattern=app-@v").replace("InstancesMax=3", ""))
        for version in (1, 2):
            self.release(version)
            self.expect_success("update")
        self.release(3)

    def release(self, version):
        data = hashlib.shake_256(f"app {version}".encode()).digest(300_000)
        name = f"app-{version}.img"
        self.digests[name] = hashlib.sha256(data).hexdigest()
        (self.server.root / name).write_bytes(data)
        manifest = self.server.root / "SHA256SUMS"
        manifest.write_text("".join(f"{digest}  {name}\n" for name, digest in self.digests.items()))
        age = time.time() - 7200 + 60 * version
        os.utime(manifest, (age, age))

    def broken(self, allowed):
        data = (self.root / "srv/disk.img").read_bytes()
        first, other = table.copies(data)
        if first is None and other is None:
            return "neither copy of the partition table is whole"
        if allowed == self.finally_ and first != other:
            return "the copies of the partition table differ"
        whole = {}
        for _, kind, _, _, label, content in table.partitions(data, first or other):
            if kind == table.GENERIC and label != "_empty":
                version = int(label.removeprefix("app-"))
                if hashlib.sha256(content[:300_000]).hexdigest() != self.digests[f"app-{version}.img"]:
                    return f"version {version} is not whole"
                whole[version] = True
        missing = [version for version in self.standing if version not in whole]
        if missing:
            return f"version {missing[0]} is gone"
        return None if max(whole) in allowed else f"the newest version is {max(whole)}"


class PartitionsAcquired(Partitions):
    """What waits in a partition is installed without network; there is a free one."""

    name = "partitions-offline"
    labels = ("_empty", "_empty", "_empty")
    interrupted = ("--offline", "update")
    target = "PartitionUUID=11111111-2222-3333-4444-555555555555\nPartitionZeroFill=yes\n"

    def lay_out(self):
        super().lay_out()
        self.expect_success("acquire")


class PartitionsVacuum(Partitions):
    """Partitions are emptied."""

    name = "partitions-vacuum"
    interrupted = following = ("-m", "1", "vacuum")
    # Not the same pair: at the end both copies of the table have to agree.
    meanwhile, finally_ = (2, 2), (2,)


class Rollback(Scenario):
    """The way back to the version before. Once it is done, another one would go further back: what follows asks for the version."""

    name = "rollback"
    interrupted, following = ("rollback", "1"), ("rollback", "1")
    meanwhile, finally_, standing = (1, 2), (1,), (1, 2)

    def lay_out(self):
        super().lay_out()
        self.expect_success("update")


class Hold(Scenario):
    """The operator's word, which is a file."""

    name = "hold"
    interrupted = following = ("hold",)
    meanwhile, finally_ = (1,), (1,)


class Feature(Disabled):
    """A feature is switched on; the update after it installs what it is for."""

    name = "feature"
    interrupted = following = ("enable-feature", "extras")
    meanwhile, finally_, standing = (1,), (1,), ()


class Extension(Scenario):
    """An extension of a bakery; the call may name that by its URL."""

    artifacts = (Artifact("app", "var/lib/extensions.d/app", "var/lib/extensions/app.raw"),)
    call = ()

    def __init__(self, work, program, chroot, server):
        super().__init__(work, program, chroot, server)
        self.interrupted = self.following = tuple(word.format(url=server.url) for word in self.call)

    @staticmethod
    def file_name(artifact, version):
        return f"{artifact.name}-{version}-{os.uname().machine.replace('x86_64', 'x86-64').replace('aarch64', 'arm64')}.raw"

    def publish(self, version):
        super().publish(version)
        inner = self.server.root / "app"
        inner.mkdir(exist_ok=True)
        for name in ("SHA256SUMS", *self.digests):
            shutil.copy2(self.server.root / name, inner)

    def broken_files(self, artifact):
        return super().broken_files(artifact) if (self.root / artifact.directory).exists() else None


class Add(Extension):
    """It is added. One that is defined already cannot be added again, only updated."""

    name = "add"
    call = ("--from={url}", "add", "app")
    meanwhile, finally_, standing = (None, 1), (1,), ()

    def lay_out(self):
        self.publish(1)

    def follow(self):
        status = self.plain(self.following)
        defined = "'app' is defined already" in self.output.read_text()
        return self.plain(("-C", "app", "update")) if defined else status


class Remove(Extension):
    """It goes, with all that was made for it. What was cut off can be called again, until nothing is left to be removed."""

    name = "remove"
    needs_room = False
    call = ("--yes", "remove", "app")
    meanwhile, finally_, standing = (None, 1), (None,), ()

    def lay_out(self):
        self.publish(1)
        self.expect_success(f"--from={self.server.url}", "add", "app")

    def follow(self):
        status = self.plain(self.following)
        done = "No transfer definitions for component 'app' found" in self.output.read_text()
        return 0 if done else status


class Import(Extension):
    """A host that was set up by hand gets definitions of our own form; what it has installed stays where it is."""

    name = "import"
    artifacts = (Artifact("app", "opt/extensions/app", "etc/extensions/app.raw"),)
    call = ("--from={url}", "--yes", "import")
    meanwhile, finally_, standing = (1,), (1,), (1,)

    def lay_out(self):
        self.publish(1)
        name = self.file_name(self.artifacts[0], 1)
        text = TRANSFER.format(name="app", directory="opt/extensions/app", url=f"{self.server.url}/app", transfer="",
                               target="CurrentSymlink=/etc/extensions/app.raw\n")
        self.write("etc/sysupdate.app.d/app.conf", text.replace("app-@v.img", "app-@v-%a.raw"))
        self.write("etc/sysupdate.app.d/app.conf.d/10-keep.conf", "[Target]\nInstancesMax=5\n")
        self.write("etc/systemd/system/systemd-sysupdate.service.d/app.conf",
                   "[Service]\nExecStartPre=/usr/lib/systemd/systemd-sysupdate -C app update\n")
        (self.root / "opt/extensions/app").mkdir(parents=True)
        shutil.copy2(self.server.root / name, self.root / "opt/extensions/app")
        (self.root / "etc/extensions").mkdir()
        (self.root / "etc/extensions/app.raw").symlink_to(f"/opt/extensions/app/{name}")
        # What follows needs no lock when nothing is left to be written.
        self.expect_success("-C", "app", "vacuum")

    def broken_link(self, artifact, allowed):
        # It leads to an absolute path, which here is one below the root.
        found = os.readlink(self.root / artifact.link)
        return None if found == f"/{artifact.directory}/{self.file_name(artifact, 1)}" else f"the symlink is '{found}'"


SCENARIOS = (Scenario, FirstInstall, Three, Acquire, Offline, Resume, Vacuum, Disabled, Rollback, Cleanup, Tree, SealedTree, TreeVacuum, Partitions,
             PartitionsAcquired, PartitionsVacuum, Hold, Feature, Add, Remove, Import)
