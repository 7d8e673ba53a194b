"""What the crash harness interrupts in a booted system: an update that ends in a merge, a restart and a trial. Beside what a scenario
checks of files and links, the system has to end with the right version merged and running, and with nothing on trial."""

import itertools
import shutil
import time

from guest import ENVIRONMENT
from scenarios import Artifact, Scenario, digest

DEFINITION = """
transfer.verify = "none"
source.url = "http://127.0.0.1/hello"
check.units = ["hello.service"]
check.settle = "{settle}"
"""

# What the program and its definitions own in the guest.
AREAS = ("etc/sysupdate", "var/lib/extensions", "var/lib/extensions.d", "var/lib/sysupdate", "var/cache/sysupdate")

# Everything as after a boot, with what lies there now: also what is left of the run before.
SETTLE_DOWN = """
rm -rf /run/sysupdate
systemctl restart systemd-sysext.service
systemctl daemon-reload
systemctl reset-failed
systemctl restart hello.service
eventually 10 'version of the running service' {version} version_running hello
"""


class Trial(Scenario):
    """A good version: merged, started, watched, kept."""

    name = "trial"
    interrupted = following = ("update", "-A")
    ends = (0,)
    publication, settle = "extension hello 2", "200ms"
    running = 2

    def __init__(self, work, program, guest):
        super().__init__(work, program, "", None)
        self.guest, self.root = guest, guest.tree
        self.environment = ENVIRONMENT
        name = guest.script("image_name hello @").replace("@", "{}")
        self.images = {version: name.format(version) for version in (1, 2)}
        self.artifacts = (Artifact("hello", "var/lib/extensions.d/hello", "var/lib/extensions/hello.raw"),)

    # ---- the tree ----

    def prepare(self):
        self.write("etc/sysupdate/transfer.d/hello.toml", DEFINITION.format(settle=self.settle))
        self.publish("extension hello 1")
        self.expect_success("update", "-A")
        self.publish(self.publication)
        self.settle_down()
        for area in AREAS:
            if (self.root / area).exists():
                shutil.copytree(self.root / area, self.template / area, symlinks=True)
        for _ in range(2):
            # The second time it is as it will be each time.
            self.reset()
            status = self.plain(self.interrupted)
            if status not in self.ends:
                raise SystemExit(f"{self.name}: without a disturbance it ends with {status}:\n{self.output.read_text()}")
        problem = self.broken(self.finally_)
        if problem:
            raise SystemExit(f"{self.name}: without a disturbance: {problem}")
        self.final = self.snapshot()

    def publish(self, how):
        self.guest.script(f"{how}; publish hello")
        self.digests = {name: digest(self.root / "srv/www/hello" / name) for name in self.images.values()
                        if (self.root / "srv/www/hello" / name).exists()}

    def reset(self):
        for area in AREAS:
            if (self.root / area).exists():
                shutil.rmtree(self.root / area)
            if (self.template / area).exists():
                shutil.copytree(self.template / area, self.root / area, symlinks=True)
        self.settle_down()

    def settle_down(self):
        self.guest.script(SETTLE_DOWN.format(version=1))

    def paths(self):
        return itertools.chain.from_iterable((self.root / area).rglob("*") for area in AREAS)

    # ---- runs ----

    def command(self, arguments):
        return self.guest.command("/usr/local/bin/sysupdate", *arguments)

    # ---- judgements ----

    def file_name(self, artifact, version):
        return self.images[version]

    def judge(self):
        return super().judge() or self.not_running()

    def not_running(self):
        """What is wrong with the system, once the call that follows has ended."""
        if (self.root / "var/lib/sysupdate/trial/record.json").exists():
            return "a trial is still on record"
        end = time.monotonic() + 10
        while time.monotonic() < end:
            # The guest's own words; a service that has just been started may not have said its version yet.
            _, found = self.guest.attempt("version_running hello && echo; merged sysext")
            if found.split() == [str(self.running), "hello"]:
                return None
            time.sleep(0.1)
        return f"what runs and is merged: {' '.join(found.split()) or 'nothing'}, not {self.running} hello"


class WayBack(Trial):
    """A version whose service fails: the one before comes back, and the other one is bad."""

    name = "way-back"
    # A second run may find that everything is over.
    ends = (3, 0)
    publication, settle = "crashing_extension hello 2 0.1", "1s"
    finally_, running = (1,), 1


SCENARIOS = (Trial, WayBack)
