"""A machine that is emulated, with Debian's kernel, busybox and the program in its memory: for a file system that this machine's own
kernel lacks (vfat). It takes three seconds to start, and needs no KVM."""

import gzip
import pathlib
import re
import subprocess

import sandbox

BUSYBOX = "/bin/busybox"
# What the disks and the file systems need, besides what these need.
MODULES = ("virtio_pci", "virtio_blk", "loop", "nls_cp437", "nls_ascii", "vfat")
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin LC_ALL=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko || dmesg | tail -n 5; done
. /script
poweroff -f
"""


class Machine:
    """The disks are the arguments of `-blockdev`, the one named last is /dev/vda. Runs until the script ends; what it prints arrives
    as lines, and it reads lines that are sent."""

    def __init__(self, program, script, files, blocks, work):
        if subprocess.run(["ldd", BUSYBOX], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            raise SystemExit("machine: this needs the package busybox-static")
        package = pathlib.Path(sandbox.prepare("kernel"))
        modules = load_order(package)
        content = {
            "init": (0o755, INIT.format(modules=" ".join(modules)).encode()),
            "script": (0o644, script.encode()),
            "bin/busybox": (0o755, pathlib.Path(BUSYBOX).read_bytes()),
            "bin/sysupdate": (0o755, pathlib.Path(program).read_bytes()),
            **{f"modules/{name}.ko": (0o644, path.read_bytes()) for name, path in modules.items()},
            **{path: (0o644, data) for path, data in files.items()},
        }
        initrd = work / "initrd"
        initrd.write_bytes(gzip.compress(archive(content, ("proc", "sys", "dev", "tmp", "run", "var", "boot")), 1))
        self.command = [
            "qemu-system-x86_64", "-accel", "tcg", "-m", "1024", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-kernel", next(package.glob("boot/vmlinuz-*")), "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
            *(word for block in blocks for word in ("-blockdev", block)),
            "-device", "virtio-blk-pci,drive=" + re.search("node-name=([a-z]+)", blocks[-1])[1],
        ]

    def __enter__(self):
        command = ["setpriv", "--pdeathsig", "KILL", "--", *self.command]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        errors="replace")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def lines(self):
        """What the script prints, line by line, until the machine is off."""
        for line in self.process.stdout:
            yield line.rstrip("\r\n")

    def send(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


def load_order(package):
    """The modules, each after what it needs, with their files."""
    found = {}

    def add(name):
        path = next(package.glob(f"lib/modules/*/kernel/**/{name}.ko"), None)
        if path is None:
            raise SystemExit(f"machine: '{package}' has no module '{name}'")
        for needed in re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())[1].decode().split(","):
            if needed and needed not in found:
                add(needed)
        found[name] = path

    for name in MODULES:
        add(name)
    return found


def archive(files, directories):
    """A cpio archive (newc) of these files and the directories that they need, and these."""
    needed = {str(parent) for path in files for parent in pathlib.Path(path).parents} - {"."}
    entries = [(name, 0o40755, b"") for name in sorted(needed.union(directories))]
    entries += [(name, 0o100000 | mode, data) for name, (mode, data) in files.items()]
    entries.append(("TRAILER!!!", 0, b""))
    found = bytearray()
    for number, (name, mode, data) in enumerate(entries, start=1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        for part in (b"070701" + b"".join(b"%08X" % field for field in fields) + raw, data):
            found += part
            found += b"\0" * (-len(found) % 4)
    return bytes(found)
