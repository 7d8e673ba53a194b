"""A proxy in a guest's network that stands between the program and its server, and disturbs answers as a bad network does."""

import ctypes
import os
import re
import socket
import struct
import threading
import time

NEW_NETWORK = 0x40000000
LISTENS, SERVER = ("127.0.0.1", 8080), ("127.0.0.1", 80)
PIECE = 16_384
libc = ctypes.CDLL(None, use_errno=True)

# A request for these is passed on as it is, or not at all: where nobody signs a manifest, the first digest seen is the one that is
# trusted, so one altered on its way is a matter for the operator.
UNSIGNED = re.compile(rb"GET /(hello|tree)/SHA256SUMS ")


class Proxy:
    """While `weather` is 0 all goes through, while it is 1 each answer is disturbed."""

    def __init__(self, choose):
        self.choose, self.lock = choose, threading.Lock()
        self.weather, self.disturbed = 0.0, 0
        self.listener = self.network = None

    def open(self, leader):
        """Listens in the network of the guest whose PID 1 that is; what was open before is closed."""
        self.close()
        self.network = os.open(f"/proc/{leader}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        opened = threading.Event()
        threading.Thread(target=self._listen, args=(opened,), daemon=True).start()
        if not opened.wait(10):
            raise SystemExit("proxy: it cannot listen in the guest")

    def close(self):
        if self.listener:
            self.listener.close()
            os.close(self.network)
            self.listener = None

    # ---- threads ----

    def _enter(self):
        """From now on the sockets of this thread are the guest's."""
        if libc.setns(self.network, NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def _listen(self, opened):
        self._enter()
        self.listener = listener = socket.create_server(LISTENS)
        opened.set()
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            self._enter()
            with client, socket.create_connection(SERVER, timeout=30) as server:
                client.settimeout(30)
                # One request a connection: each answer has its own fate.
                request = _head(client)
                if request:
                    request = re.sub(rb"\r\nConnection: [^\r]*", b"", request, flags=re.IGNORECASE)
                    server.sendall(request[:-2] + b"Connection: close\r\n\r\n")
                    self._answer(client, server, request)
        except OSError:
            return

    def _answer(self, client, server, request):
        fate, place = self._fate(UNSIGNED.match(request))
        if fate in ("404", "500", "503"):
            client.sendall(f"HTTP/1.1 {fate} Disturbed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        passed, head = 0, _head(server)
        client.sendall(head)
        while piece := server.recv(PIECE):
            if fate and passed + len(piece) > place:
                cut = max(place - passed, 0)
                if fate == "altered":
                    piece = piece[:cut] + bytes([piece[cut] ^ 1 << place % 8]) + piece[cut + 1:]
                    fate = None
                else:
                    client.sendall(piece[:cut])
                    if fate == "silent":
                        time.sleep(5)
                    if fate != "short":
                        # Not an orderly end: a reset.
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
            client.sendall(piece)
            passed += len(piece)

    def _fate(self, unsigned):
        """What happens to an answer, and after how many bytes of its body: more often than not within the first ones."""
        with self.lock:
            if self.choose.random() >= self.weather:
                return None, 0
            self.disturbed += 1
            fates = ["404", "500", "503", "reset", "short", "silent"] + ["altered"] * (not unsigned)
            return self.choose.choice(fates), int(2 ** self.choose.uniform(0, 20))


def _head(connection):
    """Up to the empty line; a byte at a time, as what comes after it is not looked at here."""
    text = b""
    while not text.endswith(b"\r\n\r\n") and len(text) < PIECE:
        byte = connection.recv(1)
        if not byte:
            break
        text += byte
    return text
