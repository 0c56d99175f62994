"""Customers and activities: `/health-scores` and `/dashboard` beside ecosys.py in the same run, what each costs of the processor, the time until an activity is
pushed, memory per customer, and what a million lines of NDJSON take of it while they come in.

    python loadtest/baseline/portfolio.py --server .build/release/plantao --customers 100000 --activities 10000000

Needs pandas, fastapi, uvicorn, psycopg, redis and websockets (requirements.txt), and Debian's postgresql and redis-server. Both sides get the same customers
and the same activities, and their scores are compared before anything is measured: a run in which they differ is no result.
"""

import argparse
import asyncio
import base64
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone

import psycopg
import websockets

HERE = pathlib.Path(__file__).parent
KINDS = ("login", "entrada", "saida", "lead")
BASIC = "Basic " + base64.b64encode(b"u:p").decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(port, method, path, body=None, kind="application/json", timeout=3600):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    started = time.perf_counter()
    connection.request(method, path, body, {"Authorization": BASIC, "Content-Type": kind})
    reply = connection.getresponse()
    content = reply.read()
    took = time.perf_counter() - started
    connection.close()
    assert reply.status == 200, (method, path, reply.status, content[:300])
    return took, content


def wait_for(port, path="/health"):
    deadline = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", path)
            connection.getresponse().read()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing answers on port {port}"
            time.sleep(0.05)


class Line:
    """Requests on a bare socket, and what they cost the server of the processor: http.client takes longer to read fifty megabytes than the server to send them."""

    def __init__(self, port, pid):
        self.port, self.pid, self.buffer = port, pid, bytearray(1 << 20)

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, method, path):
        """Seconds from the request to the end of the answer, and its bytes on the wire."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=3600) as line:
            request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {BASIC}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            started = time.perf_counter()
            line.sendall(request)
            size = line.recv_into(self.buffer)
            assert self.buffer.startswith(b"HTTP/1.1 200"), (method, path, bytes(self.buffer[:300]))
            while count := line.recv_into(self.buffer):
                size += count
            return time.perf_counter() - started, size

    def measure(self, path, rounds, before=lambda: None):
        """Median latency, CPU-seconds a request, bytes. `before`: done before each, and not counted."""
        times, spent, size = [], 0, 0
        for _ in range(rounds):
            before()
            began = self.cpu()
            took, size = self.ask("GET", path)
            spent += self.cpu() - began
            times.append(took)
        return statistics.median(times), spent / rounds, size


class PeakMemory:
    """The most that a process had resident while this was open."""

    def __init__(self, pid):
        self.pid, self.peak, self.ended = pid, resident(pid), threading.Event()
        self.before = self.peak

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self):
        while not self.ended.wait(0.05):
            self.peak = max(self.peak, resident(self.pid))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.peak = max(self.peak, resident(self.pid))

    @property
    def growth(self):
        return self.peak - self.before


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))


def activities(count, customers, seed):
    """`(customer, kind, whole days ago)`, and an hour, which keeps clear of the edges of days; in no order. Some customers do a hundred times what others do."""
    source = random.Random(seed)
    draw, below = source.random, source.getrandbits
    for _ in range(count):
        yield min(customers, 1 + int(customers * draw() ** 2)), KINDS[below(2)], int(draw() * 35)


def history(count, customers, seed):
    """As many, distributed alike, one customer after the other: as an export has them."""
    source = random.Random(seed)
    draw, below = source.random, source.getrandbits
    done = 0
    for customer in range(1, customers + 1):
        upto = round(count * (customer / customers) ** 0.5)
        for _ in range(upto - done):
            yield customer, KINDS[below(2)], int(draw() * 35)
        done = upto


def chunked(texts):
    chunk = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == 2000:
            yield "".join(chunk).encode()
            chunk = []
    yield "".join(chunk).encode()


class Postgres:
    def __init__(self, folder):
        self.port = free_port()
        self.data = folder + "/pg"
        binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if as_user:
            shutil.chown(folder, "postgres")
            os.chmod(folder, 0o755)
        run = dict(check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        subprocess.run([*as_user, binaries / "initdb", "-D", self.data, "-U", "postgres", "--auth=trust", "--no-sync"], **run)
        self.process = subprocess.Popen(
            [*as_user, binaries / "postgres", "-D", self.data, "-p", str(self.port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=512MB", "-c", "work_mem=256MB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        for _ in range(600):
            try:
                self.connection = psycopg.connect(self.url, autocommit=True)
                return
            except psycopg.OperationalError:
                time.sleep(0.1)
        raise SystemExit("Postgres did not start")

    def stop(self):
        self.connection.close()
        with open(self.data + "/postmaster.pid") as file:
            os.kill(int(file.readline()), signal.SIGINT)
        self.process.wait(30)


async def push_latencies(port, token, customers, rounds):
    """From before an activity is posted until its push has come."""
    taken = []
    async with websockets.connect(f"ws://127.0.0.1:{port}/connection/websocket", max_size=None) as line:
        await line.send(json.dumps({"id": 1, "connect": {"token": token}}))
        await line.recv()
        await line.send(json.dumps({"id": 2, "subscribe": {"channel": "health"}}))
        while '"id":2' not in await line.recv():
            pass
        for number in range(rounds):
            # An integrator more or less always moves the score.
            body = json.dumps({"tenant_id": customers - number, "tipo": "integrador", "nome": "medida"})
            started = time.perf_counter()
            post = asyncio.get_running_loop().run_in_executor(None, request, port, "POST", "/atividades", body)
            while f'"tenant_id":{customers - number},' not in await line.recv():
                pass
            taken.append(time.perf_counter() - started)
            await post
    return taken


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--activities", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", type=int, default=1_000_000, help="sent once more at the end, to see what they take of memory")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="portfolio-")
    ended = []
    try:
        measure(options, folder, ended)
    finally:
        for end in reversed(ended):
            end()
        shutil.rmtree(folder, ignore_errors=True)


def measure(options, folder, ended):
    count = options.customers
    customers = [
        {"client_id": n, "nome": f"Empresa {n} Ltda", "razao_social": f"Empresa {n} Comércio e Serviços Ltda", "cnpj": 10_000_000_000_000 + n, "valor": n % 1000 + 0.5, "cs": f"CS {n % 20}", "vendedor_id": 1 + n % 30, "data_adesao": "2024-03-15", "pipeline": "CS | ONGOING"}
        for n in range(1, count + 1)
    ]
    postgres = Postgres(folder)
    ended.append(postgres.stop)
    cache_port, baseline_port, port = free_port(), free_port(), free_port()
    cache = subprocess.Popen(["redis-server", "--port", str(cache_port), "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL)
    ended.append(lambda: (cache.terminate(), cache.wait()))
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH")} | {
        "PORT": str(port), "PLANTAO_DATA": folder + "/data", "BASIC_AUTH_USERS": "u:p", "ADMIN_EMAIL": "a@example.com", "ADMIN_PASSWORD": "Plantao#2026ok", "LOG_LEVEL": "error",
        "BCRYPT_ROUNDS": "4",
    }
    server = subprocess.Popen([options.server, "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended.append(lambda: (server.terminate(), server.wait()))
    wait_for(port)
    empty = resident(server.pid)

    started = time.perf_counter()
    for start in range(0, count, 5000):
        request(port, "POST", "/clientes", json.dumps(customers[start : start + 5000]))
    upserts = count / (time.perf_counter() - started)
    now = datetime.now(timezone.utc)

    stamps = [(now - timedelta(days=days, hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ") for days in range(35)]

    def feed(count_of, them):
        lines = (f'{{"tenant_id":{c},"tipo":"{kind}","ocorrido_em":"{stamps[days]}"}}\n' for c, kind, days in them)
        started = time.perf_counter()
        _, answer = request(port, "POST", "/atividades", chunked(lines), kind="application/x-ndjson")
        assert json.loads(answer)["aceitas"] == count_of, answer
        return count_of / (time.perf_counter() - started)

    ingest = feed(options.activities, history(options.activities, count, options.seed))
    full = resident(server.pid)

    sql = postgres.connection
    sql.execute("CREATE TABLE clientes_kommo (client_id bigint PRIMARY KEY, nome text, cnpj bigint, valor numeric, pipeline text, econversa boolean, integradores int)")
    sql.execute("CREATE TABLE atividades (tenant_id bigint, tipo text, em timestamptz)")
    with sql.cursor() as cursor, cursor.copy("COPY clientes_kommo FROM STDIN") as copy:
        for c in customers:
            copy.write_row((c["client_id"], c["nome"], c["cnpj"], c["valor"], c["pipeline"], False, 0))
    with sql.cursor() as cursor, cursor.copy("COPY atividades FROM STDIN") as copy:
        for chunk in chunked(f"{c}\t{kind}\t{stamps[days]}\n" for c, kind, days in history(options.activities, count, options.seed)):
            copy.write(chunk)
    sql.execute("CREATE INDEX ON atividades (tenant_id, tipo, em)")
    sql.execute("VACUUM ANALYZE")
    baseline = subprocess.Popen(
        [sys.executable, str(HERE / "ecosys.py")],
        env=os.environ | {"PORT": str(baseline_port), "BASELINE_DATABASE": postgres.url, "BASELINE_REDIS_PORT": str(cache_port)},
    )
    ended.append(lambda: (baseline.terminate(), baseline.wait()))
    wait_for(baseline_port, "/docs")

    ours = json.loads(request(port, "GET", "/health-scores")[1])
    theirs = json.loads(request(baseline_port, "GET", "/health-scores")[1])
    assert ours.keys() == theirs.keys()
    # The windows differ by design: theirs are thirty times 24 hours, ours thirty days of the calendar. Recency and adoption are the same in both.
    same = sum(ours[key]["dias_desde_ultimo_acesso"] == theirs[key]["d_login"] for key in ours)
    assert same == len(ours), f"{len(ours) - same} of {len(ours)} customers differ in the days since their last access"

    theirs, ours = Line(baseline_port, baseline.pid), Line(port, server.pid)
    figures = {}
    for path, many in (("/health-scores", options.rounds), ("/dashboard", 200)):
        cold = theirs.measure(path, options.rounds, lambda: theirs.ask("POST", "/cache/clear"))
        figures[path] = cold, theirs.measure(path, many), ours.measure(path, many)
    # Somebody of every page of the answer does something before each: nothing of it can be taken from what was written before.
    everybody = json.dumps([{"tenant_id": n, "tipo": "lead"} for n in range(1, count + 1, 100)][:10_000])
    anew = ours.measure("/health-scores", options.rounds, lambda: request(port, "POST", "/atividades", everybody))
    filtered = {path: ours.measure(path + "?data_adesao_fim=2024-12-31", options.rounds) for path in figures}
    login = json.loads(request(port, "POST", "/api/v1/auth/login", json.dumps({"email": "a@example.com", "password": "Plantao#2026ok"}))[1])
    pushes = sorted(asyncio.run(push_latencies(port, login["access_token"], count, min(200, count))))

    with PeakMemory(server.pid) as memory:
        scattered = feed(options.lines, activities(options.lines, count, options.seed + 1))

    print(f"{count:,} customers, {options.activities:,} activities; median of {options.rounds}; load average {os.getloadavg()[0]:.1f}\n")
    print("| | FastAPI + pandas, cold | its cache hit | Plantão, live | cold ÷ live | hit ÷ live |\n| --- | --- | --- | --- | --- | --- |")

    def ms(figure):
        return f"{figure[0] * 1000:.{0 if figure[0] > 0.1 else 1 if figure[0] > 0.01 else 2}f} ms"

    def ratio(theirs, ours):
        # Below what the clock of a process shows, it is no figure.
        return f"{theirs / ours:.1f}" if ours > 0 else "–"

    for path, (cold, warm, live) in figures.items():
        print(f"| `{path}` ({live[2] / 1e6:.1f} MB) | {ms(cold)} | {ms(warm)} | {ms(live)} | {cold[0] / live[0]:.0f} | {warm[0] / live[0]:.1f} |")
        cpu = [f"{figure[1] * 1000:.2f} ms" for figure in (cold, warm, live)]
        print(f"| its processor time, without Postgres and Redis | {' | '.join(cpu)} | {ratio(cold[1], live[1])} | {ratio(warm[1], live[1])} |")
    print(f"\n`/health-scores` of whom everybody's page has changed: {ms(anew)}, {anew[1] * 1000:.0f} ms of the processor.")
    for path, figure in filtered.items():
        print(f"`{path}` with a range of days: {ms(figure)}, {figure[1] * 1000:.1f} ms of the processor.")
    print(f"An activity until its push: median {pushes[len(pushes) // 2] * 1000:.1f} ms, p99 {pushes[int(len(pushes) * 0.99)] * 1000:.1f} ms, worst {pushes[-1] * 1000:.1f} ms of {len(pushes)}.")
    print(f"Resident memory: {(full - empty) / count:.0f} bytes a customer more than empty, {full / 1e6:.0f} MB in all; {memory.before / 1e6:.0f} MB when everything has been asked.")
    print(f"{options.lines:,} lines of NDJSON more: {memory.growth / 1e6:.1f} MB more at the most while they came in.")
    print(f"Fed: {upserts:.0f} customers/s, {ingest:.0f} activities/s customer by customer, {scattered:.0f} in no order.")


if __name__ == "__main__":
    main()
