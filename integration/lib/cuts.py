"""The disks that a power cut could leave, out of the log of what was written to one (recorder.py): everything up to a flush, and of what
was written after it and not yet flushed: nothing; all of it; each beginning of it; and, as a disk writes in the order that it likes, parts
of it: each of them, if there are few, otherwise some, chosen at random; every other one with its last write torn."""

import itertools
import os
import random
import subprocess

from recorder import FLUSH, SECTOR

BLOCK = 4096
# Of so many writes between two flushes, each part of them is tried.
FEW = 4


class Disk:
    """An image of a file system that is put together write by write."""

    def __init__(self, path, base):
        self.path = path
        # What has been written, by sector: two disks with the same base and the same of this are the same.
        self.sectors = {}
        subprocess.run(["cp", "--sparse=always", base, path], check=True)

    def become(self, other):
        """Takes over what another disk is, in place."""
        self.sectors = other.sectors
        subprocess.run(["cp", "--sparse=always", other.path, self.path], check=True)

    def apply(self, writes):
        self.sectors = self.with_(writes)
        with open(self.path, "r+b", buffering=0) as file:
            for offset, data in writes:
                os.pwrite(file.fileno(), data, offset)

    def with_(self, writes):
        """The sectors after these writes."""
        found = dict(self.sectors)
        for offset, data in writes:
            for at in range(0, len(data), SECTOR):
                found[offset + at] = data[at:at + SECTOR]
        return found


def disks(log, ended, every, seed):
    """The disks that a power cut could leave: (what, entries that are whole, writes of the rest that arrived, whether the call may have ended)."""
    choose = random.Random(seed)
    # An epoch is what lies between two flushes; a flush is whole when it is in the log.
    flushes = [-1] + [index for index, entry in enumerate(log) if entry.flags & FLUSH]
    for flush, following in zip(flushes, flushes[1:] + [len(log)]):
        rest = [entry for entry in log[flush + 1:following] if entry.data]
        # The call had ended if the next flush came after its end: then it relied on no more than this one.
        over = following >= ended
        yield f"flush {flush}", flush + 1, [], over
        if not rest:
            continue
        yield f"flush {flush} and all after it", flush + 1, rest, over
        for length in range(1, len(rest) if every else 0):
            yield f"flush {flush} and {length} writes", flush + 1, rest[:length], over
            for some in itertools.combinations(rest, length) if len(rest) <= FEW else ():
                yield f"flush {flush} and {length} of the writes", flush + 1, list(some), over
        for number in range(6 if every else 1):
            some = [entry for entry in rest if choose.random() < 0.5]
            choose.shuffle(some)
            yield f"flush {flush} and a part ({number})", flush + 1, some, over


def put_together(whole, cut, log, ended, every, seed):
    """Makes `cut` each of these disks, none twice, out of two that are as before the call: what it is, whether the call may have ended."""
    applied, seen = 0, set()
    for number, (what, upto, rest, over) in enumerate(disks(log, ended, every, seed)):
        whole.apply([(entry.offset, entry.data) for entry in log[applied:upto] if entry.data])
        applied = upto
        writes = torn(rest, number)
        # All up to a flush is also all after the one before; and of a single write there are not many parts.
        identity = over, hash(frozenset(whole.with_(writes).items()))
        if identity not in seen:
            seen.add(identity)
            cut.become(whole)
            cut.apply(writes)
            yield what, over


def torn(writes, number):
    """The writes as (offset, data); of the last one only a part, if it is the turn of such a disk. A block is written or not: no file
    system stands half a superblock."""
    found = [(entry.offset, entry.data) for entry in writes]
    if found and number % 2:
        offset, data = found[-1]
        found[-1] = (offset, data[:max(BLOCK, len(data) // 2 // BLOCK * BLOCK)])
    return found
