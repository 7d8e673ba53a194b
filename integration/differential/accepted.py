"""The one list of differences from systemd-sysupdate 262 that are meant. Each has its reason, and each has to occur."""


class Rule:
    """A difference that is meant: `applies` says whether one is of this kind; with `ends` the trees differ from then on."""

    def __init__(self, name, reason, applies, ends=False):
        self.name, self.reason, self.applies, self.ends = name, reason, applies, ends


def verb(one):
    words = [word for word in one.call if not word.startswith("-")]
    return words[0] if words and words[0] not in "1239" else "list"


def changes(one):
    """Whether the call is one that installs."""
    return verb(one) in ("update", "acquire")


def said(one, text, side=1):
    """Whether a tool, theirs by default, said something on stderr."""
    return text in one.results[side].stderr


def rows(text):
    """The table of `list`, by version, without its marks: what is there, and the words."""
    found = {}
    for line in text.splitlines()[1:]:
        words = [word for word in line.split() if word not in "●○×↻\\"]
        if words:
            found[words[0]] = words[1:]
    return found


def names(one):
    return {*one.ours, *one.theirs}


def word(one, version):
    """The assessment of a version, by ours and by theirs."""
    return tuple((rows(text).get(version) or [""])[-1] for text in (one.ours, one.theirs))


def differing(one):
    return [version for version in {*rows(one.ours), *rows(one.theirs)} if rows(one.ours).get(version) != rows(one.theirs).get(version)]


def is_table(one):
    return one.kind == "stdout" and verb(one) == "list" and "INSTALLED AVAILABLE ASSESSMENT" in one.theirs


def without(value, key):
    return {name: one for name, one in value.items() if name != key} if isinstance(value, dict) else value


def labels(seen):
    return sorted(slot[4] for slot in seen["/srv/disk.img"])


def goes_back(one):
    """The table of the original has a candidate that is older than what is installed."""
    return is_table(one) and differing(one) and all(word(one, version) == ("available", "candidate") for version in differing(one))


def goes_back_to_one(one):
    """The same in `list VERSION`."""
    return (one.kind == "stdout" and verb(one) == "list" and "State: candidate" in one.theirs
            and one.ours.replace("  Version: ", "↻ Version: ", 1).replace("State: available", "State: candidate") == one.theirs)


def is_cut_off(one):
    """`check-new` of the original answers with a version of which it has a part, which it will not complete."""
    if verb(one) != "check-new" or [result.code for result in one.results] != [0, 0]:
        return False
    answer = one.theirs["available"] if isinstance(one.theirs, dict) else one.theirs.strip()
    return any(name.removeprefix(".sysupdate.partial.a-").removesuffix(".raw") == answer for name in one.partial)


def follows_the_link(one):
    """Ours calls current what the link leads to, theirs the newest installed."""
    if not is_table(one) or not differing(one):
        return False
    return all({"current" in mine, "current" in other} == {True, False} or mine.replace("current", "installed") == other.replace("current", "installed")
               for mine, other in (word(one, version) for version in differing(one)))


ACCEPTED = [
    Rule("aborts", "the original ends by an assertion (compat 3.1.4, B5.4.4: MAY IMPROVE)",
         lambda one: one.kind == "exit code" and one.theirs == -6, ends=True),
    Rule("heals", "a partial version heals in the next update (compat 3.2.6: MAY IMPROVE, and must)",
         lambda one: (one.kind == "exit code" and changes(one) and one.ours == 0 and said(one, "partially installed. Vacuum it")) or is_cut_off(one), ends=True),
    Rule("never back", "nothing older than what is installed comes by itself (promise 3)",
         lambda one: goes_back(one) or goes_back_to_one(one) or (one.kind in ("exit code", "stdout", "json") and verb(one) == "check-new" and one.results[0].code == 1
                                        and one.results[1].code == 0), ends=True),
    Rule("current", "current is what the link leads to (compat 3.1.7: MAY IMPROVE)",
         lambda one: follows_the_link(one) or (one.kind == "json" and verb(one) == "list" and "current" in str(one.theirs) and without(one.ours, "current") == without(one.theirs, "current"))),
    Rule("stays", "what the link leads to, or the newest version, is never removed for the number of versions (compat 3.2.2: MAY IMPROVE)",
         lambda one: one.kind == "tree" and verb(one) in ("vacuum", "update") and any(one.ours.get(name) is not None and one.theirs.get(name) is None for name in names(one))
         and "Removing old '" in one.results[1].stderr, ends=True),
    Rule("afterwards", "old versions go when the new one stands, so that it takes another partition (compat 3.2.1: MAY IMPROVE, and must)",
         lambda one: one.kind == "tree" and verb(one) == "update" and names(one) == {"/srv/disk.img"} and labels(one.ours) == labels(one.theirs), ends=True),
    Rule("links", "a link that is missing, wrong or leads nowhere is put right (compat 3.2.9: MAY IMPROVE, and must)",
         lambda one: (one.kind == "tree" and said(one, "Updated symlink", 0) and not said(one, "Updated symlink"))
         or (one.kind == "exit code" and verb(one) == "check-new" and one.ours == 0 and one.theirs == 1), ends=True),
    Rule("link goes first", "a link never leads nowhere: it goes with what it led to (compat 3.4.6: MAY IMPROVE)",
         lambda one: one.kind == "tree" and all(one.ours.get(name) is None and str(one.theirs.get(name)).startswith("->") for name in names(one)), ends=True),
    Rule("unclaimed", "unfinished files that match no pattern go with `vacuum`, as the manual says, not with every update: another component's may lie there",
         lambda one: one.kind == "tree" and changes(one) and all(".sysupdate.p" in name and one.theirs.get(name) is None for name in names(one)), ends=True),
    Rule("by order", "a version that is asked for is found by order, as everywhere else: `1` is `01`",
         lambda one: one.results[0].code == 0 and one.results[1].code == 1 and said(one, "not found.") and said(one, "Multiple instances of version")),
    Rule("any of them", "which of several files of one version is meant is not specified (compat B5.3.3)",
         lambda one: one.kind in ("stdout", "json") and verb(one) == "list" and said(one, "Multiple instances of version '1' found") and "/srv/s/" in str(one.ours)),
    Rule("lost name", "a name that the target's patterns do not find again is refused: each run would install it anew",
         lambda one: one.kind == "exit code" and changes(one) and one.ours == 1 and said(one, "not suitable as file name", 0), ends=True),
    Rule("foreign directory", "a directory that somebody has put in the place of a file is left alone",
         lambda one: one.kind == "exit code" and changes(one) and one.ours == 1 and said(one, "is in the way and is left alone", 0), ends=True),
    Rule("fits first", "what does not fit into a partition is refused before anything is written (compat 3.2.4: MAY IMPROVE)",
         lambda one: "too large" in one.tags and one.kind == "tree" and said(one, "does not fit into", 0) and said(one, "File too large"), ends=True),
    Rule("closed while unfinished", "nobody else can read a file before it is whole and verified",
         lambda one: one.kind in ("stdout", "json") and "partial" in str(one.ours) and "0600" in str(one.ours) + "0600" * ("384" in str(one.ours))),
]
