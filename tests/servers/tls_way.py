"""An encrypted way to a PostgreSQL server that has none: `tls_way.py CERTIFICATE KEY SERVER_PORT`, on loopback; says its own port."""

import select
import socket
import socketserver
import ssl
import sys


class Way(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            # A request for encryption has 8 bytes; S says yes, and the handshake follows.
            self.request.recv(8, socket.MSG_WAITALL)
            self.request.sendall(b"S")
            with context.wrap_socket(self.request, server_side=True) as client:
                with socket.create_connection(("127.0.0.1", int(sys.argv[3]))) as server:
                    other = {client: server, server: client}
                    while True:
                        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
                        for end in ready:
                            part = end.recv(1 << 16)
                            if not part:
                                return
                            other[end].sendall(part)
        except OSError:
            pass


class Ways(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
ways = Ways(("127.0.0.1", 0), Way)
print(ways.server_address[1], flush=True)
ways.serve_forever()
