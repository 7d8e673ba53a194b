"""Both tools on one tree, in turns and killed in between: whatever one has begun, the other goes on from it, and the end is right."""

import random

from generated import VERSIONS
from scenarios import PAIRS, define, name_of, publish
from table import image

CALLS = (("update",), ("update",), ("acquire",), ("--offline", "update"), ("vacuum",), ("list",), ("check-new",))


def crossing(seed):
    """A scenario by number."""
    def run(world):
        chance = random.Random(seed)
        # One tree is enough; both programs are in it.
        side = world.sides[0]
        programs = [one.program for one in world.sides]
        source, target = chance.choice(PAIRS)
        offered = sorted(chance.sample(VERSIONS[:5], chance.randint(1, 2)), key=int)
        publish(world, source, offered)
        if target == "partition":
            world.write("srv/disk.img", image(["_empty"] * 3))
        define(world, source, target)
        told = []
        for _ in range(chance.randint(2, 6)):
            if chance.random() < 0.3:
                offered = sorted({*offered, chance.choice(VERSIONS[:5])}, key=int)
                publish(world, source, offered)
            program, arguments = chance.choice(programs), chance.choice(CALLS)
            is_killed = chance.random() < 0.35
            told.append(f"{program.rsplit('/', 1)[1]} {' '.join(arguments)}{' (killed)' if is_killed else ''}")
            if is_killed:
                side.interrupted(program, arguments, chance.uniform(0.002, 0.06))
            else:
                side.call(arguments, {}, program)
        newest = offered[-1]
        # Either of them brings it to its end; the original may need to be asked to clean up first, and does not mend links.
        last = chance.choice(programs)
        if last == programs[1]:
            side.call(("vacuum",), {}, last)
            told.append("vacuum")
        done = side.call(("update",), {}, last)
        told.append(f"{last.rsplit('/', 1)[1]} update")
        story = ", ".join(told)
        assert done.code == 0, f"{source} to {target}: {story}: {done.stderr[-500:]}"
        check(side, source, target, newest, story, last == programs[0])
        for program in programs:
            done = side.call(("check-new",), {}, program)
            # What ours finds to do after theirs is a link.
            is_link = program == programs[0] and last == programs[1]
            assert done.code == 1 or is_link, f"{story}: {program} still finds {done.stdout}"
    return run


def check(side, source, target, newest, story, has_link):
    """The newest version stands whole, and the link leads to it."""
    if target == "partition":
        partitions = side.seen()["/srv/disk.img"]
        names = [slot[4] for slot in partitions]
        assert f"a-{newest}" in names, f"{story}: {names}"
        number = names.index(f"a-{newest}") + 1
        content = (side.root / "srv/disk.img").read_bytes()[number << 20:]
        assert content.startswith(f"content of {newest}\n".encode()), story
        return
    place = side.root / "srv/t" / (f"a-{newest}" + (".raw" if target == "regular-file" else ""))
    assert place.exists(), f"{story}: {sorted(path.name for path in (side.root / 'srv/t').iterdir())}"
    if target == "regular-file":
        assert place.read_bytes() == (side.root / "srv/s" / name_of(source, newest)).read_bytes(), story
    else:
        assert (place / "sub/f").read_text() == newest, story
    if has_link:
        link = side.root / "srv/t/current"
        assert link.is_symlink() and link.resolve() == place.resolve(), f"{story}: the link leads to {link.resolve()}"
