"""Sequences that nobody has thought of: definitions, sources, trees and calls by chance, the same ones for a seed."""

import random

from scenarios import PAIRS, define, name_of, publish
from table import image

VERSIONS = ["1", "2", "3", "4", "10", "1.1", "2~rc1", "2-1", "3^1", "v5"]


def sequence(seed):
    """A scenario by number."""
    def run(world):
        chance = random.Random(seed)
        source, target = chance.choice(PAIRS)
        offered = chance.sample(VERSIONS, chance.randint(0, 4))
        publish(world, source, offered)
        if target == "partition":
            world.write("srv/disk.img", image(["_empty"] * chance.randint(2, 4)))
        more, transfer = {}, {}
        if chance.random() < 0.3:
            more["InstancesMax"] = chance.choice(["2", "3", "4"])
        if chance.random() < 0.2:
            transfer["MinVersion"] = chance.choice(VERSIONS)
        if chance.random() < 0.2:
            transfer["ProtectVersion"] = chance.choice(VERSIONS)
        if chance.random() < 0.2 and target in ("regular-file", "directory"):
            more["Mode"] = chance.choice(["0600", "0755"])
        if chance.random() < 0.3 and target != "partition":
            more["CurrentSymlink"] = chance.choice([None, "/opt/current", "sub/current"])
        define(world, source, target, transfer=transfer, **more)
        if chance.random() < 0.25 and target == "regular-file":
            prefix = chance.choice(["", ".sysupdate.partial.", ".sysupdate.pending."])
            world.write(f"srv/t/{prefix}a-{chance.choice(VERSIONS)}.raw", "left")
        for _ in range(chance.randint(3, 8)):
            step(world, chance, source, offered)
    return run


def step(world, chance, source, offered):
    kind = chance.random()
    if kind < 0.2:
        offered[:] = sorted(set(offered) | set(chance.sample(VERSIONS, 1)))
        if chance.random() < 0.3 and offered:
            offered.remove(chance.choice(offered))
        publish(world, source, offered)
    elif kind < 0.5:
        world.call(*chance.choice([("update",), ("update",), ("update", chance.choice(VERSIONS)), ("acquire",), ("--offline", "update"),
                                   ("vacuum",), ("vacuum", "-m", "1"), ("vacuum", "-m", "2"), ("update", "-m", "2")]))
    else:
        world.call(*chance.choice([("list",), ("--json=short", "list"), ("check-new",), ("list", chance.choice(VERSIONS)), ("--offline", "list"),
                                   ("--json=short", "list", chance.choice(VERSIONS)), ("--json=short", "check-new")]))


def name(source, version):
    """What a version is called, for those who look at a failure."""
    return name_of(source, version)
