"""Small file systems in image files, with the tree of a scenario on them."""

import contextlib
import ctypes
import os
import shutil
import subprocess

MIB = 1 << 20
# How each is made, and the smallest size that it likes.
KINDS = {"ext4": (("mkfs.ext4", "-q"), 48 * MIB), "xfs": (("mkfs.xfs", "-q"), 320 * MIB), "btrfs": (("mkfs.btrfs", "-q"), 128 * MIB)}


class Mounted:
    """A file system image, mounted."""

    def __init__(self, image, place):
        self.image, self.place = image, place

    def __enter__(self):
        self.place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-o", "loop", self.image, self.place], check=True)
        return self.place

    def __exit__(self, *_):
        subprocess.run(["umount", self.place], check=True)


class Attached:
    """A loop device over an image that is written and mounted again and again: a third of the time that mount(8) takes each time."""

    def __init__(self, kind, image, place):
        self.kind, self.image, self.place = kind, image, place
        self.libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self):
        self.place.mkdir(exist_ok=True)
        command = ["losetup", "--find", "--show", self.image]
        self.device = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        return self

    def __exit__(self, *_):
        subprocess.run(["losetup", "--detach", self.device], check=True)

    @contextlib.contextmanager
    def mounted(self):
        """The image as it is now, which must have kept its inode."""
        place = os.fsencode(self.place)
        self.check(self.libc.mount(os.fsencode(self.device), place, self.kind.encode(), 0, None), "mount")
        try:
            yield self.place
        finally:
            self.check(self.libc.umount2(place, 0), "unmount")

    def check(self, result, what):
        if result != 0:
            raise OSError(ctypes.get_errno(), f"cannot {what} '{self.image}': {os.strerror(ctypes.get_errno())}")


def make(kind, image, scenario, place, options=()):
    """Makes a file system of this kind, with the tree of the scenario, as it is before the call, at /root; returns its image."""
    command, size = KINDS[kind]
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run([*command, *options, image], check=True, stdout=subprocess.DEVNULL)
    with Mounted(image, place) as mounted:
        scenario.root = mounted / "root"
        shutil.copytree(scenario.template, scenario.root, symlinks=True)
        scenario.settle()
    return image
