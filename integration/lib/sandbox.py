"""A private mount namespace, and in it a root tree made ready for chroot: how the real systemd-sysupdate of a newer distribution is
run on this machine with its own libraries, and ours beside it under the same conditions."""

import os
import pathlib
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def private_mounts():
    """Starts this program again in a mount namespace of its own, so that no mount outlives it."""
    mark = "SYSUPDATE_PRIVATE_MOUNTS"
    if os.environ.get(mark) != str(os.getpid()):
        # The process id stays the same through both.
        os.environ[mark] = str(os.getpid())
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "--", sys.executable, *sys.argv])
    # Being ended by timeout(1) is to clean up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def prepare(what, *arguments):
    """What `lib/prepare` prints."""
    done = subprocess.run([HERE / "prepare", what, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    return done.stdout.strip()


def enter(rootfs, work):
    """Mounts a throw-away copy of `rootfs` with the kernel's file systems, and `work` at /mnt of it; returns its path."""
    layers = pathlib.Path(work) / "chroot"
    layers.mkdir()
    mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", layers)
    for name in ("upper", "work", "root"):
        (layers / name).mkdir()
    root = layers / "root"
    mount("-t", "overlay", "-o", f"lowerdir={rootfs},upperdir={layers}/upper,workdir={layers}/work", "overlay", root)
    for name in ("proc", "sys", "dev"):
        mount("--rbind", f"/{name}", root / name)
    for name in ("run", "tmp", "var/tmp"):
        mount("-t", "tmpfs", "tmpfs", root / name)
    mount("--bind", work, root / "mnt")
    return str(root)


def leave(root):
    """Takes the mounts of `enter` away again, so that the folder can be removed."""
    subprocess.run(["umount", "--recursive", "--lazy", pathlib.Path(root).parent], check=False)


def mount(*arguments):
    """Calls mount(8)."""
    subprocess.run(["mount", *arguments], check=True)
