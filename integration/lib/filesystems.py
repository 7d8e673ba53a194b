"""Small file systems in image files, with the tree of a scenario on them."""

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


def make(kind, image, tree, place, options=()):
    """Makes a file system of this kind, with the tree at /root on it; returns its image."""
    command, size = KINDS[kind]
    with open(image, "wb") as file:
        file.truncate(size)
    subprocess.run([*command, *options, image], check=True, stdout=subprocess.DEVNULL)
    with Mounted(image, place) as mounted:
        shutil.copytree(tree, mounted / "root", symlinks=True)
    return image
