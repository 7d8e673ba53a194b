"""A block device that keeps a log of each write and flush in their order: qemu-storage-daemon's `blklogwrites` over a file, exported
by FUSE as a file that a loop device can be put on."""

import collections
import pathlib
import struct
import subprocess
import time

FLUSH, DISCARD = 1, 4
# The format is that of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).
MAGIC, SECTOR = 0x6A736677736872, 512

Entry = collections.namedtuple("Entry", "offset data flags")


def logged(disk, log):
    """What `-blockdev` takes for a device, the last of them, over the file `disk` that keeps a log in the file `log`."""
    return (
        f"driver=file,node-name=disk,filename={disk}",
        f"driver=file,node-name=log,filename={log}",
        f"driver=blklogwrites,node-name=logged,file=disk,log=log,log-sector-size={SECTOR}",
    )


class Recorder:
    """Records what is written to `disk` for as long as the `with` block lasts; `state` is a folder for its files."""

    def __init__(self, disk, state):
        self.disk, self.state = disk, pathlib.Path(state)
        self.state.mkdir()
        self.log, self.export = self.state / "log", self.state / "export"
        for path in (self.log, self.export):
            path.touch()

    def __enter__(self):
        command = ["qemu-storage-daemon"]
        for block in logged(self.disk, self.log):
            command += ["--blockdev", block]
        command += ["--export", f"type=fuse,id=export,node-name=logged,mountpoint={self.export},writable=on"]
        output = (self.state / "output").open("wb")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        size = self.disk.stat().st_size
        for _ in range(200):
            if self.export.stat().st_size == size:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"qemu-storage-daemon does not start: {(self.state / 'output').read_text()}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def read_log(path):
    """The entries of a log. One that is still being written ends where nothing has been written yet."""
    content = path.read_bytes()
    if not content:
        # Nothing has been written yet, as by a call that syncs nothing.
        return []
    magic, _, _, sector = struct.unpack_from("<QQQI", content)
    if magic != MAGIC or sector != SECTOR:
        raise SystemExit(f"'{path}' is no log of writes")
    entries, position = [], SECTOR
    while position + SECTOR <= len(content):
        offset, length, flags, _ = struct.unpack_from("<QQQQ", content, position)
        if (offset, length, flags) == (0, 0, 0):
            break
        position += SECTOR
        if flags & DISCARD:
            entries.append(Entry(offset * SECTOR, b"\0" * (length * SECTOR), flags))
            continue
        entries.append(Entry(offset * SECTOR, content[position:position + length * SECTOR], flags))
        position += length * SECTOR
    return entries
