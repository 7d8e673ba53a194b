"""A real nginx over one folder, on a free port of loopback, for the programs that run on the host."""

import os
import pathlib
import socket
import subprocess
import time

CONFIGURATION = """
user root;
daemon off;
pid {state}/pid;
error_log {state}/error.log;
worker_processes 1;
events {{}}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {state}/body;
    proxy_temp_path {state}/proxy;
    fastcgi_temp_path {state}/fastcgi;
    uwsgi_temp_path {state}/uwsgi;
    scgi_temp_path {state}/scgi;
    log_format bytes '$body_bytes_sent';
    server {{
        listen 127.0.0.1:{port};
        root {root};
        # The same files: as from afar, and with a line in `counted` for each answer, which is what was sent of it.
        location /slow/ {{ alias {root}/; limit_rate 20000000; }}
        location /counted/ {{ alias {root}/; limit_rate 60000000; access_log {state}/counted bytes; }}
    }}
}}
"""


class Server:
    """Serves `root` for as long as the `with` block lasts; `state` is a folder for nginx's own files."""

    def __init__(self, root, state):
        self.root, self.state = pathlib.Path(root), pathlib.Path(state)
        self.state.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        # The port is free when it is looked for and may be taken a moment later: try again then.
        for _ in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            configuration = self.state / "nginx.conf"
            configuration.write_text(CONFIGURATION.format(state=self.state, root=self.root, port=port))
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", "nginx", "-p", self.state, "-e", self.state / "error.log", "-c", configuration],
                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )
            if self._answers(port):
                self.url = f"http://127.0.0.1:{port}"
                return self
            self.process.wait()
        raise SystemExit(f"nginx does not start: {(self.state / 'error.log').read_text()}")

    def _answers(self, port):
        for _ in range(100):
            if self.process.poll() is not None:
                return False
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.05)
        return False

    def counted(self, answers):
        """Waits for that many answers below /counted/, and gives the bytes of their bodies."""
        log = self.state / "counted"
        for _ in range(200):
            lines = log.read_text().split()
            if len(lines) >= answers:
                return sum(map(int, lines))
            time.sleep(0.05)
        raise SystemExit(f"nginx has counted {len(lines)} answers, not {answers}")

    def forget_counted(self):
        """Begins to count anew."""
        os.truncate(self.state / "counted", 0)

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
