"""What the soak publishes into a guest, component by component: the versions, which of them are good, and what may be installed."""

import gzip
import hashlib
import io
import os
import random
import tarfile

KEPT_OFFERED = 5


class Component:
    """Versions are 1, 2, 3, …. `offered` has those in the manifest with the digest of their file, `contents` what each becomes when
    it is installed; `good` are those that work, `excused` those that an interrupted trial may have taken back; `word` is the operator's:
    from which version he went back, and to which one: that holds until something newer than both works."""

    name, signed, keeps = "", False, 3
    definition = ""

    def __init__(self, guest, choose):
        self.guest, self.choose = guest, choose
        self.newest = 0
        self.offered, self.contents = {}, {}
        self.good, self.excused, self.word = set(), set(), None
        self.held_back = {}
        self.published = guest.tree / "srv/www" / self.name

    def define(self):
        path = self.guest.tree / f"etc/sysupdate/transfer.d/{self.name}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.definition)

    # ---- publication ----

    def publish(self, good=True, uploaded=True):
        """A new version; one that is not yet uploaded has its place in the manifest, but not all of its bytes."""
        self.newest += 1
        version = self.newest
        self.published.mkdir(parents=True, exist_ok=True)
        good = self.make(version, good)
        if good:
            self.good.add(version)
        path = self.published / self.file(version)
        data = path.read_bytes()
        self.offered[version] = hashlib.sha256(data).hexdigest()
        if not uploaded:
            self.held_back[version] = data
            path.write_bytes(data[:self.choose.randrange(len(data))])
        for old in sorted(self.offered)[:-KEPT_OFFERED]:
            self.forget(old)
        self.write_manifest()
        return f"{self.name}: version {version}" + ", crashing" * (not good) + ", half uploaded" * (not uploaded)

    def take_back(self):
        """The newest version is offered no more; its number is not used again."""
        if len(self.offered) < 2:
            return f"{self.name}: nothing to take back"
        version = max(self.offered)
        self.forget(version)
        self.write_manifest()
        return f"{self.name}: version {version} is taken back"

    def mend(self):
        """What is half uploaded gets the rest."""
        for version, data in self.held_back.items():
            (self.published / self.file(version)).write_bytes(data)
        self.held_back.clear()

    def forget(self, version):
        del self.offered[version]
        self.held_back.pop(version, None)
        (self.published / self.file(version)).unlink()

    def write_manifest(self):
        new = self.published / ".new"
        new.write_text("".join(f"{digest}  {self.file(version)}\n" for version, digest in self.offered.items()))
        os.rename(new, self.published / "SHA256SUMS")

    # ---- what is installed ----

    def installed(self):
        """Version by version, the paths under final names."""
        directory = self.guest.tree / self.directory
        if not directory.is_dir():
            return {}
        return {path.name: path for path in directory.iterdir() if not path.name.startswith(".") and not path.is_symlink()}

    def broken(self):
        """What is wrong with what lies there, or nothing."""
        names = {self.final(version): version for version in self.contents}
        for name, path in self.installed().items():
            if name not in names:
                return f"'{name}' was never published"
            if self.content(path) != self.contents[names[name]]:
                return f"'{name}' is not whole"
        return None if self.linked() else f"the current symlink leads to {os.readlink(self.guest.tree / self.link)}"

    def linked(self):
        """The version that the current symlink leads to; None when it leads to nothing that was published."""
        link = self.guest.tree / self.link
        target = link.parent / os.readlink(link)
        for version in self.contents:
            if target.name == self.final(version) and target.exists():
                return version
        return None

    def expected(self):
        """The versions of which one is linked when all is quiet: more than one where an interrupted trial has a say."""
        present = {version for version in self.contents if self.final(version) in self.installed()}
        candidates = self.good & (present | set(self.offered))
        back = set()
        if self.word:
            candidates = {version for version in candidates if version > self.word[0]}
            back = {self.word[1]}
        strict = max(candidates - self.excused, default=0)
        return {version for version in candidates if version >= strict} | (back if strict == 0 else set())

    def went_back(self, left):
        """The operator has gone back from this version to what is linked now."""
        self.word = (max(left, self.word[0] if self.word else 0), self.linked())

    def tidy(self):
        """After `vacuum`: nothing but so many versions."""
        directory = self.guest.tree / self.directory
        hidden = [path.name for path in directory.iterdir() if path.name.startswith(".")]
        if hidden or len(self.installed()) > self.keeps:
            raise SystemExit(f"{self.name}: too much is left: {hidden + sorted(self.installed())}")


class Hello(Component):
    """An extension with a service that is on trial when it is new."""

    name = "hello"
    directory, link = "var/lib/extensions.d/hello", "var/lib/extensions/hello.raw"
    definition = """
transfer.verify = "none"
source.url = "http://127.0.0.1:8080/hello"
target.instances_max = 3
check.units = ["hello.service"]
check.settle = "1s"
"""

    def __init__(self, guest, choose):
        super().__init__(guest, choose)
        self.pattern = guest.script("image_name hello @")

    def file(self, version):
        return self.pattern.replace("@", str(version))

    final = file

    def make(self, version, good):
        how = f"extension hello {version} {self.choose.choice((0, 0, 1, 3))}" if good else f"crashing_extension hello {version} 0.1"
        # So that a boot, too, starts what it has merged.
        self.guest.script(f"release+=(EXTENSION_RELOAD_MANAGER=1)\n{how}")
        self.contents[version] = self.content(self.published / self.file(version))
        return good

    @staticmethod
    def content(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()


class Data(Component):
    """A file that comes compressed, from a publisher who signs."""

    name, signed = "data", True
    directory, link = "var/lib/data", "var/lib/data/current"
    definition = """
[transfer]
keys = ["/etc/sysupdate/data.gpg"]

[source]
url = "http://127.0.0.1:8080/data"
match = "data-@v.bin.gz"

[target]
type = "regular-file"
path = "/var/lib/data"
match = "data-@v.bin"
current_symlink = "current"
instances_max = 3
"""

    def define(self):
        super().define()
        self.guest.script("export GNUPGHOME=/root/keys; mkdir -m 0700 /root/keys\n"
                          "gpg --batch --quiet --passphrase '' --quick-generate-key publisher@example.org ed25519 sign never 2>/dev/null\n"
                          "gpg --batch --quiet --export publisher@example.org >/etc/sysupdate/data.gpg")

    def file(self, version):
        return f"data-{version}.bin.gz"

    def final(self, version):
        return f"data-{version}.bin"

    def make(self, version, _good):
        data = random.Random(version).randbytes(self.choose.choice((10_000, 300_000, 2_000_000)))
        (self.published / self.file(version)).write_bytes(gzip.compress(data, 1))
        self.contents[version] = hashlib.sha256(data).hexdigest()
        return True

    def write_manifest(self):
        super().write_manifest()
        self.guest.script("export GNUPGHOME=/root/keys; cd /srv/www/data\n"
                          "gpg --batch --quiet --yes --output .new --detach-sign SHA256SUMS; mv .new SHA256SUMS.gpg")

    content = staticmethod(Hello.content)


class Archive(Component):
    """An archive that becomes a directory; its definition is in systemd's form."""

    name = "tree"
    directory, link = "var/lib/tree", "var/lib/tree/current"
    definition = """[Transfer]
Verify=no

[Source]
Type=url-tar
Path=http://127.0.0.1:8080/tree
MatchPattern=tree-@v.tar

[Target]
Type=directory
Path=/var/lib/tree
MatchPattern=tree-@v
CurrentSymlink=current
InstancesMax=3
"""

    def define(self):
        path = self.guest.tree / "etc/sysupdate.tree.d/tree.transfer"
        path.parent.mkdir(parents=True)
        path.write_text(self.definition)

    def file(self, version):
        return f"tree-{version}.tar"

    def final(self, version):
        return f"tree-{version}"

    def make(self, version, _good):
        noise = random.Random(version)
        files = {f"{folder}/{number}": noise.randbytes(noise.randrange(60_000)) for folder in ("a", "b/c") for number in range(noise.randrange(1, 12))}
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tape:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tape.addfile(entry, io.BytesIO(content))
        (self.published / self.file(version)).write_bytes(data.getvalue())
        self.contents[version] = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        return True

    @staticmethod
    def content(path):
        return {str(file.relative_to(path)): Hello.content(file) for file in path.rglob("*") if file.is_file()}
