"""The scenarios by name: every pair, every verb, states that are made by hand, definitions that are wrong."""

import hashlib
import io
import itertools
import tarfile

from table import SLOT, image
from world import OLD

SCENARIOS = {}


def scenario(function):
    """Registers a scenario under its function's name."""
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


def add(name, function, *arguments, **named):
    """Registers one of a family."""
    SCENARIOS[name] = lambda world: function(world, *arguments, **named)


def archive(version, top_mode=0o755):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as tape:
        for name, kind, content, mode in (("./", tarfile.DIRTYPE, b"", top_mode), ("./sub", tarfile.DIRTYPE, b"", 0o750),
                                          ("./sub/f", tarfile.REGTYPE, version.encode(), 0o640)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.mode, entry.mtime = kind, len(content), mode, OLD
            tape.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("./l")
        link.type, link.linkname, link.mtime = tarfile.SYMTYPE, "sub/f", OLD
        tape.addfile(link)
        hard = tarfile.TarInfo("./h")
        hard.type, hard.linkname, hard.mtime, hard.mode = tarfile.LNKTYPE, "./sub/f", OLD, 0o640
        tape.addfile(hard)
    return data.getvalue()


SOURCES = ("url-file", "regular-file", "url-tar", "tar", "directory", "subvolume")
PAIRS = [("url-file", "regular-file"), ("url-file", "partition"), ("regular-file", "regular-file"), ("regular-file", "partition"),
         *itertools.product(("url-tar", "tar", "directory", "subvolume"), ("directory", "subvolume"))]


def name_of(source, version):
    return f"a-{version}" + {"url-file": ".raw", "regular-file": ".raw", "url-tar": ".tar", "tar": ".tar"}.get(source, "")


def publish(world, source, versions, place="srv/s"):
    """Lays out so many versions for a kind of source, and nothing else."""
    world.remove(place)
    lines = []
    for version in versions:
        name = name_of(source, version)
        if source in ("directory", "subvolume"):
            world.directory(f"{place}/{name}", [("sub/f", version), ("g", "same")], mode=0o750)
            continue
        content = archive(version) if source.endswith("tar") else f"content of {version}\n".encode()
        world.write(f"{place}/{name}", content)
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    if source.startswith("url-"):
        world.write(f"{place}/SHA256SUMS", "".join(lines))


def define(world, source, target, transfer=None, **more):
    """Defines the transfer of a pair, with more settings of its target."""
    pattern = name_of(source, "@v")
    own = {"Type": target, "Path": "/srv/t", "MatchPattern": "a-@v" + (".raw" if target == "regular-file" else "")}
    if target == "partition":
        own["Path"] = "/srv/disk.img"
    else:
        own["CurrentSymlink"] = "current"
    world.define(source={"Type": source, "Path": "file:///srv/s" if source.startswith("url-") else "/srv/s", "MatchPattern": pattern},
                 target={**own, **more}, transfer=transfer)


def prepared(world, source, target, versions, labels=("_empty", "_empty", "_empty"), **more):
    publish(world, source, versions)
    if target == "partition":
        world.write("srv/disk.img", image(labels))
    define(world, source, target, **more)


LOOKS = (("list",), ("--json=short", "list"), ("check-new",), ("--json=short", "check-new"), ("--offline", "list"), ("--no-legend", "list"))


def looks(world, *versions):
    for call in LOOKS:
        world.call(*call)
    for version in versions:
        world.call("list", version)
        world.call("--json=short", "list", version)


def life(world, source, target):
    """From nothing to several versions, and back to one."""
    prepared(world, source, target, ["1", "2"])
    looks(world, "1", "2", "9")
    world.call("update", "1")
    looks(world, "1", "2")
    world.call("update")
    looks(world, "1", "2")
    world.call("update")
    publish(world, source, ["2", "3"])
    world.call("check-new")
    world.call("update")
    looks(world, "2", "3")
    world.call("vacuum")
    world.call("vacuum", "-m", "1")
    looks(world, "3")
    world.call("--json=short", "vacuum")


def split(world, source, target):
    """Acquired first, installed later, without the source."""
    prepared(world, source, target, ["1"])
    world.call("acquire")
    looks(world, "1")
    world.call("acquire")
    world.call("--offline", "update")
    looks(world, "1")
    publish(world, source, ["1", "2"])
    world.call("--offline", "update")
    world.call("acquire", "2")
    world.call("list", "2")
    world.call("vacuum")
    looks(world, "2")
    world.call("acquire")
    world.call("update")
    looks(world, "2")


def back(world, source, target):
    """An older version by name, one that is there, one that is none."""
    prepared(world, source, target, ["1", "2", "3"])
    world.call("update")
    world.call("update", "9")
    world.call("update", "3")
    world.call("update", "2")
    world.call("--json=short", "list", "2")
    world.call("check-new")


def bounds(world, source, target):
    prepared(world, source, target, ["1", "2", "3", "4", "5"], transfer={"MinVersion": "3", "ProtectVersion": "4"}, InstancesMax="2",
             labels=("_empty",) * 4)
    looks(world, "2", "4")
    world.call("update", "2")
    world.call("update", "4")
    world.call("update", "3")
    world.call("update")
    looks(world, "3", "4", "5")
    world.call("vacuum", "-m", "1")
    looks(world)


for pair in PAIRS:
    for family in (life, split, back, bounds):
        add(f"{family.__name__}-{pair[0]}-{pair[1]}", family, *pair)

# ---- orders of versions ----

ORDERS = {
    "numbers": "1 2 10 9 1.10 1.9 1.0.0 1.0", "tilde": "1 1~rc1 1~rc2 1~ 1~beta", "dash": "1 1-1 1-2 1.1 1-rc1", "caret": "1 1^1 1.1 1a 1^",
    "letters": "a b v1 v2 V1 rc rc1 1a", "dates": "20231231 20240101 2024.01 2024", "zeros": "001 1.01 1.1.0 2", "plus": "1+1 1+2 1.1 11",
    "long": "99999999999999999999 100000000000000000000 1", "odd": ". .1 1. - + 1.. 1..1",
}
for order, text in ORDERS.items():
    def ordered(world, versions):
        prepared(world, "regular-file", "regular-file", versions)
        looks(world, versions[0])
        world.call("update")
        world.call("list")
        world.call("update", versions[-1])
        world.call("list")
        world.call("vacuum", "-m", "2")
    add(f"order-{order}", ordered, text.split())

# ---- patterns ----

PATTERNS = {
    "first-literal": ("a-@v.raw", "a-1.raw a-2.raw.raw a-3.rawx b-4.raw a-.raw"), "dashes": ("a-@v-b", "a-1-b a-1-2-b a-1-b-b"),
    "counters": ("a_@v_@d.raw a_@v.raw", "a_1_2.raw a_2.raw a_1_2_3.raw"), "tries": ("a-@v+@l-@d.efi a-@v+@l.efi a-@v.efi", "a-1+2-1.efi a-2+1.efi a-3.efi a-4+0-3.efi"),
    "alone": ("@v", "1 a .hid 2"), "at": ("a@@@v", "a@1 a1 a@2"), "directory": ("a/b-@v", "a/b-1 a/c-2 b-3 a/b-4/x"),
    "in-directory": ("a-@v/b.efi", "a-1/b.efi a-2/c.efi a-3"), "deep": ("d-@v/c/i.raw", "d-3/c/i.raw d-4/c/j.raw d-5/i.raw"),
    "recursive": ("**/b-@v.raw", "b-1.raw s/b-2.raw s/t/u/b-3.raw .h/b-4.raw b-5.raw/b-6.raw"), "two": ("b-@v/i.raw b-@v.raw", "b-1/i.raw b-2.raw s/b-3.raw"),
    "both": ("x-@v x-@v/i", "x-1 x-2/i"), "uuid": ("a_@v_@u.raw", "a_1_11111111222233334444555555555555.raw a_2_11111111-2222-3333-4444-555555555555.raw a_3_xyz.raw"),
    "flags": ("a_@v_@f.raw", "a_1_ff.raw a_2_0x10.raw a_3_zz.raw"), "booleans": ("a_@v_@a@@@g@@@r.raw", "a_1_1@0@yes.raw a_2_2@0@1.raw a_3_on@off@t.raw"),
    "mode": ("a_@v_@m.raw", "a_1_644.raw a_2_777.raw a_3_0755.raw a_4_8.raw"), "time": ("a_@v_@t.raw", "a_1_1600000000000000.raw a_2_x.raw a_3_010.raw"),
    "size": ("a_@v_@s.raw", "a_1_5.raw a_2_-1.raw a_3_010.raw a_4_0x10.raw"),
    "hash": ("a_@v_@h.raw", "a_1_" + "0" * 64 + ".raw a_2_" + "AB" * 32 + ".raw a_3_00.raw"), "several": ("a-@v.raw a_@v.raw b-@v", "a-1.raw a_1.raw b-1 b-2"),
    "same-version": ("a-@v.raw", "a-1.raw a-01.raw a-1.0.raw a-1.00.raw"),
}
for label, (pattern, names) in PATTERNS.items():
    def matched(world, pattern, names):
        for name in names.split():
            world.write(f"srv/s/{name}", name)
        world.define(source={"Type": "regular-file", "Path": "/srv/s", "MatchPattern": pattern},
                     target={"Type": "regular-file", "Path": "/srv/t", "MatchPattern": "t-@v"})
        looks(world, "1", "2", "3")
        world.call("update")
        looks(world, "1")
    add(f"pattern-{label}", matched, pattern, names)

RENDERED = {
    "plain": "t-@v", "directory": "d/t-@v", "deep": "a/@v/b/t", "counters": "t-@v+@l-@d", "mode": "t-@v-@m", "time": "t-@v-@t", "unknown": "t-@v-@u",
    "hash": "t-@v-@h", "list": "x-@v t-@v", "dots": "../t-@v", "slash": "/t-@v", "long": "t" * 255 + "@v",
}
for label, pattern in RENDERED.items():
    def rendered(world, pattern):
        prepared(world, "regular-file", "regular-file", ["1", "2"], MatchPattern=pattern)
        world.call("update", "1")
        world.call("update")
        looks(world, "2")
        world.call("vacuum", "-m", "1")
    add(f"rendered-{label}", rendered, pattern)

# ---- settings of a target ----

TARGETS = {
    "mode": {"Mode": "0600"}, "mode-odd": {"Mode": "04755"}, "read-only": {"ReadOnly": "yes"}, "read-only-mode": {"ReadOnly": "yes", "Mode": "0640"},
    "no-link": {"CurrentSymlink": None}, "absolute-link": {"CurrentSymlink": "/opt/x/current"}, "deep-link": {"CurrentSymlink": "cur/x"},
    "max-2": {"InstancesMax": "2"}, "max-1": {"InstancesMax": "1"}, "max-0": {"InstancesMax": "0"}, "max-odd": {"InstancesMax": "x"},
    "tries": {"MatchPattern": "a-@v+@l-@d.raw a-@v.raw", "TriesLeft": "5", "TriesDone": "1"}, "keep-temporary": {"RemoveTemporary": "no"},
    "no-type": {"Type": None}, "slash": {"Path": "/srv/t/"}, "no-pattern": {"MatchPattern": None},
}
for label, more in TARGETS.items():
    def targeted(world, more):
        prepared(world, "regular-file", "regular-file", ["1"], **more)
        world.write("srv/t/.sysupdate.partial.other", "x")
        for versions in (["1"], ["1", "2"], ["2", "3"], ["3", "4"]):
            publish(world, "regular-file", versions)
            world.call("update")
            world.call("list")
        world.call("list", "4")
        world.call("vacuum")
    add(f"target-{label}", targeted, more)

# ---- states that somebody has left ----

STATES = {
    "partial": [".sysupdate.partial.a-2.raw"], "pending": [".sysupdate.pending.a-2.raw"], "old-partial": ["a-2.raw", ".sysupdate.partial.a-1.raw"],
    "old-pending": ["a-2.raw", ".sysupdate.pending.a-1.raw"], "both": [".sysupdate.partial.a-2.raw", ".sysupdate.pending.a-1.raw", "a-0.raw"],
    "foreign": ["a-1.raw", "other", ".hidden", "a-1.raw.bak"], "foreign-temporary": ["a-1.raw", ".sysupdate.partial.other", ".sysupdate.pending.more"],
    "gone-pending": [".sysupdate.pending.a-0.raw"], "gone-partial": [".sysupdate.partial.a-0.raw", "a-1.raw"], "newer": ["a-9.raw"], "same": ["a-2.raw", "a-02.raw"],
    "directory": ["a-2.raw/f"], "deep": ["sub/a-1.raw"],
}
CALLS = {"update": (("update",),), "vacuum": (("vacuum",), ("update",)), "offline": (("--offline", "update"), ("update",)), "acquire": (("acquire",), ("update", "2"))}
for (label, files), (how, calls) in itertools.product(STATES.items(), CALLS.items()):
    def left(world, files, calls):
        prepared(world, "regular-file", "regular-file", ["1", "2"])
        for name in files:
            world.write(f"srv/t/{name}", f"left as {name}")
        world.call("list")
        world.call("list", "2")
        world.call("check-new")
        for call in calls:
            world.call(*call)
            world.call("list")
    add(f"state-{label}-{how}", left, files, calls)


@scenario
def two_transfers(world):
    for name, versions in (("a", "12"), ("b", "1")):
        for version in versions:
            world.write(f"srv/s/{name}_{version}", name + version)
        world.define(f"10-{name}", source={"Type": "regular-file", "Path": "/srv/s", "MatchPattern": f"{name}_@v"},
                     target={"Type": "regular-file", "Path": "/srv/t", "MatchPattern": f"{name}_@v", "CurrentSymlink": name})
    looks(world, "1", "2")
    world.call("update")
    world.write("srv/s/b_2", "b2")
    looks(world, "2")
    world.call("update")
    world.remove("srv/t/b_2")
    looks(world, "2")
    world.call("update")
    looks(world, "2")
    world.remove("srv/t/a_2")
    world.remove("srv/s/a_2")
    looks(world, "2")
    world.call("update")


# ---- features and components ----

def featured(world, features, transfer, calls):
    prepared(world, "regular-file", "regular-file", ["1", "2"], transfer=transfer)
    world.define("20-base", source={"Type": "regular-file", "Path": "/srv/s", "MatchPattern": "a-@v.raw"},
                 target={"Type": "regular-file", "Path": "/srv/base", "MatchPattern": "b-@v"})
    for name, text in features.items():
        world.write(f"etc/sysupdate.d/{name}.feature", "[Feature]\n" + text)
    for call in calls:
        world.call(*call)


FEATURES = {
    "off": ({"f": "Description=words here\nEnabled=no\nDocumentation=https://a/b\nDocumentation=https://c"}, {"Features": "f"}),
    "on": ({"f": "Enabled=yes\nSuggest=yes"}, {"Features": "f"}), "unknown": ({}, {"Features": "f"}), "none": ({}, {}),
    "one-of-two": ({"f": "Enabled=yes", "g": "Enabled=no"}, {"Features": "f g"}), "both": ({"f": "Enabled=yes", "g": "Enabled=no"}, {"RequisiteFeatures": "f g"}),
    "mixed": ({"f": "Enabled=yes", "g": "Enabled=yes\nSuggestOnArchitecture=native"}, {"Features": "f", "RequisiteFeatures": "g"}),
    "conditions": ({"f": "SuggestOnVersion=systemd >= 262\nEnabled=no"}, {"Features": "f"}), "bad-condition": ({"f": "SuggestOnFirmware=smbios-field(x)"}, {"Features": "f"}),
}
for label, (features, transfer) in FEATURES.items():
    add(f"feature-{label}", featured, features, transfer, (
        ("features",), ("--json=short", "features"), ("features", "f"), ("--json=short", "features", "f"), ("list",), ("update",), ("list", "2"),
        ("enable-feature", "f"), ("features", "f"), ("update",), ("list", "2"), ("disable-feature", "f"), ("list",), ("vacuum",), ("--json=short", "vacuum"), ("list", "2")))
add("feature-switches", featured, {"f": "Suggest=yes", "g": "Suggest=no"}, {"Features": "f"}, (
    ("enable-feature", "-s"), ("features",), ("disable-feature", "-a"), ("features",), ("enable-feature", "-a", "f"), ("enable-feature",), ("enable-feature", "x/y"),
    ("enable-feature", "f", "nope"), ("features", "nope"), ("features", "-a"), ("update", "-a"), ("--definitions=/etc/sysupdate.d", "enable-feature", "f")))


def components(world, calls, texts):
    for name, text in texts.items():
        if name:
            world.write(f"etc/sysupdate.{name}.component", "[Component]\n" + text)
        place = f"etc/sysupdate.{name}.d" if name else "etc/sysupdate.d"
        world.define(f"10-{name or 'a'}", source={"Type": "regular-file", "Path": "/srv/s", "MatchPattern": "a-@v.raw"},
                     target={"Type": "regular-file", "Path": f"/srv/t{name}", "MatchPattern": "t-@v"}, place=place)
    publish(world, "regular-file", ["1"])
    for call in calls:
        world.call(*call)


COMPONENT_CALLS = (
    ("components",), ("--json=short", "components"), ("--no-legend", "components"), ("-C", "x", "components"), ("-C", "x", "list"), ("--component=x", "update"),
    ("-A", "update"), ("-C", "y", "list"), ("-C", "nope", "list"), ("-C", "a/", "list"), ("check-new", "--component=a/"), ("-A", "list"), ("-S", "update"), ("-A", "vacuum"),
    ("-C", "x", "pending"), ("-C", "x", "reboot"), ("-C", "x", "update", "--reboot"), ("disable-component", "x"), ("-C", "x", "update"), ("components",), ("-A", "update"),
    ("-C", "x", "enable-component"), ("enable-component", "-A"), ("enable-component", "-S"), ("disable-component", "-S"), ("enable-component", "nope"),
    ("enable-component", "a/b"), ("-C", "x", "enable-component", "x"), ("enable-component",), ("components",), ("-C", "x", "cleanup"), ("-A", "cleanup"))
add("components-several", components, COMPONENT_CALLS, {"": "", "x": "Description=X\nSuggest=yes", "y": "Enabled=no\nDocumentation=https://y/1\nDocumentation=https://y/2"})
add("components-no-default", components, COMPONENT_CALLS, {"x": "", "y": "Suggest=no"})
add("components-none", components, COMPONENT_CALLS, {})

# ---- cleanup ----


@scenario
def cleanup_of_what_has_no_owner(world):
    prepared(world, "regular-file", "regular-file", ["1", "2"], CurrentSymlink=None)
    world.call("update", "1")
    world.call("update")
    world.write("srv/t/other", "x")
    world.call("cleanup")
    define(world, "regular-file", "regular-file", CurrentSymlink=None, MatchPattern="b-@v.raw")
    world.call("cleanup")
    world.call("update")
    world.call("update", "--cleanup=yes")
    world.call("cleanup", "--cleanup=no")
    world.remove("etc/sysupdate.d/10-a.transfer")
    world.call("cleanup")
    world.call("cleanup")


@scenario
def cleanup_of_trees(world):
    prepared(world, "tar", "directory", ["1", "2"], CurrentSymlink=None)
    world.call("update", "1")
    world.call("update")
    world.remove("etc/sysupdate.d/10-a.transfer")
    world.call("cleanup")


# ---- manifests ----

HASH = hashlib.sha256(b"x").hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()
LINES = {
    "good": f"{HASH}  a-1.raw\n", "binary": f"{HASH} *a-1.raw\n", "upper": f"{HASH.upper()}  a-1.raw\n", "empty": "", "no-newline": f"{HASH}  a-1.raw",
    "blank-line": f"{HASH}  a-1.raw\n\n", "comment": f"# x\n{HASH}  a-1.raw\n", "short-hash": f"{HASH[:-2]}  a-1.raw\n", "long-hash": f"{HASH}0  a-1.raw\n",
    "one-blank": f"{HASH} a-1.raw\n", "tab": f"{HASH}\t\ta-1.raw\n", "escaped": f"\\{HASH}  a-1.raw\n", "no-name": f"{HASH}  \n", "percent": f"{HASH}  a-%1.raw\n",
    "dots": f"{HASH}  ../a-1.raw\n", "absolute": f"{HASH}  /a-1.raw\n", "double": f"{HASH}  a//b\n", "carriage": f"{HASH}  a-1.raw\r\n", "nul": f"{HASH}  a-1.raw\0\n",
    "twice": f"{HASH}  a-1.raw\n" * 2, "sub": f"{HASH}  sub/a-1.raw\n", "not-utf8": f"{HASH}  ".encode() + b"\xff\n", "other": f"{HASH}  b-1.raw\n", "bsd": f"SHA256 (a-1.raw) = {HASH}\n",
    "fresh": f"{EMPTY}  BEST-BEFORE-2999-01-01\n{HASH}  a-1.raw\n", "stale": f"{EMPTY}  BEST-BEFORE-2020-01-01\n{HASH}  a-1.raw\n", "no-date": f"{EMPTY}  BEST-BEFORE-x\n{HASH}  a-1.raw\n",
    "stale-below": f"{EMPTY}  a/BEST-BEFORE-2020-01-01\n{HASH}  a-1.raw\n", "stale-hash": f"{HASH}  BEST-BEFORE-2020-1-1\n{HASH}  a-1.raw\n", "wrong": f"{EMPTY}  a-1.raw\n",
}
for label, text in LINES.items():
    def manifested(world, text):
        define(world, "url-file", "regular-file")
        world.write("srv/s/a-1.raw", "x")
        world.write("srv/s/sub/a-1.raw", "x")
        world.write("srv/s/SHA256SUMS", text)
        world.call("list")
        world.call("check-new")
        world.call("update", SYSTEMD_SYSUPDATE_VERIFY_FRESHNESS="0")
        world.call("list", "1")
    add(f"manifest-{label}", manifested, text)


@scenario
def manifest_missing(world):
    define(world, "url-file", "regular-file")
    for call in (("list",), ("check-new",), ("update",), ("--offline", "list"), ("--offline", "update"), ("vacuum",)):
        world.call(*call)


@scenario
def unsigned_is_refused(world):
    publish(world, "url-file", ["1"])
    define(world, "url-file", "regular-file", transfer={"Verify": "yes"})
    world.call("list")
    world.call("update")
    world.call("--verify=no", "update")
    world.call("--verify=yes", "list")
    world.call("--verify=x", "list")


# ---- definitions that are wrong ----

GOOD = "[Source]\nType=regular-file\nPath=/srv/s\nMatchPattern=a-@v\n[Target]\nType=regular-file\nPath=/srv/t\nMatchPattern=a-@v\n"
WRONG = {
    "empty": "#\n", "no-source": "[Target]\nPath=/t\n", "bad-type": GOOD.replace("Type=regular-file", "Type=x", 1), "source-partition": GOOD.replace("Type=regular-file", "Type=partition", 1),
    "target-tar": GOOD.replace("\nType=regular-file\nPath=/srv/t", "\nType=tar\nPath=/srv/t"), "pair": GOOD.replace("\nType=regular-file\nPath=/srv/t", "\nType=directory\nPath=/srv/t"),
    "no-path": GOOD.replace("Path=/srv/s\n", ""), "relative": GOOD.replace("Path=/srv/s", "Path=srv/s"), "not-normal": GOOD.replace("Path=/srv/s", "Path=/srv/../s"),
    "no-pattern": GOOD.replace("MatchPattern=a-@v\n", "", 1), "bad-pattern": GOOD.replace("MatchPattern=a-@v", "MatchPattern=a-@x", 1), "no-version": GOOD.replace("a-@v", "a", 1),
    "twice-version": GOOD.replace("a-@v", "@v-@v", 1), "two-wildcards": GOOD.replace("a-@v", "@v@u", 1), "star": GOOD.replace("a-@v", "a*@v", 1), "recursive-target": GOOD[:-5] + "**/@v\n",
    "recursive-slash": GOOD.replace("a-@v", "**/a/@v", 1), "no-target-path": GOOD.replace("Path=/srv/t\n", ""), "target-relative": GOOD.replace("Path=/srv/t", "Path=srv/t"),
    "auto": GOOD.replace("Path=/srv/t", "Path=auto"), "explicit": GOOD.replace("Path=/srv/s", "Path=/srv/s\nPathRelativeTo=explicit"),
    "explicit-target": GOOD.replace("Path=/srv/t", "Path=/srv/t\nPathRelativeTo=explicit"), "boot": GOOD.replace("Path=/srv/t", "Path=/srv/t\nPathRelativeTo=boot"),
    "unknown-key": GOOD + "Nope=1\n", "unknown-section": "[Nope]\na=b\n" + GOOD, "x-section": "[X-Mine]\na=b\n" + GOOD, "outside": "a=b\n" + GOOD, "no-equals": GOOD + "Mode\n", "no-key": GOOD + "=x\n",
    "bad-header": "[Source\n", "empty-header": "[]\n" + GOOD, "bad-mode": GOOD + "Mode=9999\n", "large-mode": GOOD + "Mode=10000\n", "bad-boolean": GOOD + "RemoveTemporary=maybe\n",
    "bad-number": GOOD + "TriesLeft=-1\n", "bad-uuid": GOOD + "PartitionUUID=x\n", "bad-partition-type": GOOD + "MatchPartitionType=root-vax\n", "bad-flags": GOOD + "PartitionFlags=xyz\n",
    "bad-link": GOOD + "CurrentSymlink=../x\n", "bad-min": "[Transfer]\nMinVersion=a b\n" + GOOD, "bad-protect": "[Transfer]\nProtectVersion=/\n" + GOOD, "bad-changelog": "[Transfer]\nChangeLog=ftp://x\n" + GOOD,
    "bad-url": GOOD.replace("Type=regular-file\nPath=/srv/s", "Type=url-file\nPath=ftp://x"), "bad-specifier": GOOD.replace("Path=/srv/t", "Path=/srv/%Z"), "not-utf8": GOOD.encode() + b"Mode=\xff\n",
    "missing-disk": GOOD.replace("\nType=regular-file\nPath=/srv/t", "\nType=partition\nPath=/srv/nope"), "quotes": "[Transfer]\nFeatures='a\n" + GOOD, "continued": GOOD + "Mode=0\\\n600\n",
    "nul": GOOD.encode() + b"Mode=0600\0TriesLeft=1\n", "mark": b"\xef\xbb\xbf" + GOOD.encode(), "returns": GOOD.replace("\n", "\r\n"), "spaces": GOOD.replace("=", " = ").replace("\n", " \n "),
}
for label, text in WRONG.items():
    def wrong(world, text):
        world.write("etc/sysupdate.d/10-a.transfer", text)
        world.write("srv/s/a-1", "1")
        lines = r"sysupdate\.d/|^Failed to resolve|^Automatic root"
        world.call("list", stderr=lines)
        world.call("update", stderr=lines)
        world.call("features")
        world.call("vacuum")
    add(f"wrong-{label}", wrong, text)


@scenario
def places_and_masks(world):
    publish(world, "regular-file", ["1"])
    text = GOOD.replace("MatchPattern=a-@v", "MatchPattern=a-@v.raw")
    world.write("usr/lib/sysupdate.d/10-a.transfer", text)
    world.write("run/sysupdate.d/10-a.transfer", text.replace("/srv/t", "/srv/run"))
    world.call("update")
    world.write("etc/sysupdate.d/10-a.transfer.d/x.conf", "[Target]\nPath=/srv/dropped\n")
    world.call("update")
    world.link("etc/sysupdate.d/10-a.transfer", "/dev/null")
    world.call("list")
    world.call("update")
    world.remove("etc/sysupdate.d/10-a.transfer")
    world.write("etc/sysupdate.d/10-a.transfer", "")
    world.call("list")
    world.write("etc/sysupdate.d/20-old.conf", text)
    world.call("list")
    world.remove("etc/sysupdate.d/10-a.transfer")
    world.call("list")
    world.link("etc/sysupdate.d/30-b.transfer", "nowhere")
    world.call("list")


@scenario
def switches(world):
    prepared(world, "regular-file", "regular-file", ["1", "2", "3"])
    world.directory("srv/root/srv/s", [("a-1.raw", "r")])
    world.write("srv/root/etc/sysupdate.d/10-a.transfer", GOOD.replace("a-@v", "a-@v.raw"))
    world.write("srv/root/usr/lib/os-release", "ID=x\n")
    world.write("srv/defs/10-a.transfer", GOOD.replace("a-@v", "a-@v.raw").replace("/srv/t", "/srv/other"))
    for call in (("--root=/srv/root", "list"), ("--root=/srv/root", "update"), ("--root=/srv/root", "list", "1"), ("--root=/srv/nope", "list"), ("--definitions=/srv/defs", "update"),
                 ("--definitions=/srv/defs", "list"), ("--definitions=/srv/nothing", "list"), ("--definitions=", "list"), ("--root=/srv/root", "--image=x", "list"),
                 ("--definitions=/srv/defs", "-C", "x", "list"), ("-m", "2", "update"), ("-m", "1", "update"), ("--instances-max=0", "vacuum"), ("-m", "1", "vacuum"), ("--sync=no", "update", "1"),
                 ("nope",), ("list", "1", "2"), ("check-new", "x"), ("--json=x", "list"), ("--json=pretty", "list"), ("--json=pretty", "list", "1"), ("--nope",), ("pending",), ("--json=off", "check-new"), ()):
        world.call(*call)


@scenario
def boot_counters(world):
    for version in "12":
        world.write(f"srv/s/os_{version}.efi", version)
    world.define(source={"Type": "regular-file", "Path": "/srv/s", "MatchPattern": "os_@v.efi"},
                 target={"Type": "regular-file", "Path": "/EFI/Linux", "PathRelativeTo": "esp", "MatchPattern": "os_@v+@l-@d.efi os_@v+@l.efi os_@v.efi", "TriesLeft": "3", "TriesDone": "0", "InstancesMax": "2", "Mode": "0444"})
    esp = {"SYSTEMD_ESP_PATH": "/efi"}
    world.call("update", "1", **esp)
    world.call("list", "1", **esp)
    for side in world.sides:
        (side.root / "efi/EFI/Linux/os_1+3-0.efi").rename(side.root / "efi/EFI/Linux/os_1+2-1.efi")
    world.call("list", "1", **esp)
    world.call("update", **esp)
    world.call("--json=short", "list", "2", **esp)
    world.write("srv/s/os_3.efi", "3")
    world.call("update", **esp)
    world.call("list", **esp)


@scenario
def two_partitions_and_a_file(world):
    world.write("srv/disk.img", image(["_empty", "_empty", "_empty", "_empty"]))
    for name in ("root", "hash"):
        for version in "123":
            world.write(f"srv/s/{name}_{version}", name + version)
        world.define(f"10-{name}", source={"Type": "regular-file", "Path": "/srv/s", "MatchPattern": f"{name}_@v"},
                     target={"Type": "partition", "Path": "/srv/disk.img", "MatchPattern": f"{name}_@v", "PartitionUUID": None})
    world.define("20-file", source={"Type": "regular-file", "Path": "/srv/s", "MatchPattern": "root_@v"},
                 target={"Type": "regular-file", "Path": "/srv/t", "MatchPattern": "file-@v", "CurrentSymlink": "current"})
    world.call("update", "1")
    looks(world, "1")
    world.call("update", "2")
    looks(world, "2")
    world.call("acquire", "3")
    looks(world, "3")
    world.call("update")
    looks(world, "3")


@scenario
def too_large_for_its_partition(world):
    world.tags.add("too large")
    prepared(world, "regular-file", "partition", ["1"])
    world.write("srv/s/a-2.raw", b"x" * (SLOT + 1))
    world.call("update", "1")
    world.call("update")
    world.call("list")
