"""The parts of one test program side by side: the program runs itself once for each part, as many at a time as there are processors."""

import concurrent.futures
import os
import re
import subprocess
import sys


def run(parts):
    """Runs this program once with the arguments of each part, and prints what each says, in their order; for each the exit status and
    the last line."""

    def child(arguments):
        # A part must not outlive the whole, which may be ended by timeout(1).
        command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, sys.argv[0], *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    ended = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for done in pool.map(child, parts):
                print(done.stdout, end="", flush=True)
                ended.append((done.returncode, (done.stdout.splitlines() or [""])[-1]))
        except BaseException:
            # What has not begun does not begin any more.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return ended


def total(ended, what):
    """The sum of the numbers before this word in the last lines."""
    return sum(int(found[1]) for _, line in ended if (found := re.search(rf"(\d+) {what}", line)))
