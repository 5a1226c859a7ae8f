"""Runs in a test machine: holds very many idle connections through a proxy on vsock, and prints what they take, as JSON.

crowd.py LOAD PROXY MANY ROUNDS: two proxies, one with MANY connections and one with a hundred, and how long a new connection
to each takes, 99 % of them. From one address, one port of a server has 64,511 connections at most, so each proxy has two.
"""
import json
import re
import resource
import statistics
import subprocess
import sys

LOAD, PROXY, MANY, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
FEW = 100
CLIENTS = "8"
ROUND_MS = "1000"


def load(*arguments):
    output = subprocess.run([LOAD, *arguments], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def start(name, ports, doors):
    file = f"/run/{name}.yaml"
    with open(file, "w") as config:
        config.write("listeners:\n")
        for port, door in zip(ports, doors):
            config.write(f'- {{listen: "vsock:3:{door}", connect: "127.0.0.1:{port}"}}\n')
        config.write("allowlist:\n" + "".join(f"- {{address: 127.0.0.1, port: {port}}}\n" for port in ports))
        config.write(f"limits: {{connections: {MANY}}}\n")
    process = subprocess.Popen([PROXY, "serve", "--config", file])
    endpoints = [f"vsock:3:{door}" for door in doors]
    for endpoint in endpoints:
        load("await", endpoint)
    return process, endpoints


def hold(endpoints, connections):
    """Opens them, half at each; what is returned proves them alive and closes them."""
    holders = []
    for endpoint in endpoints:
        command = [LOAD, "idle", endpoint, str(connections // len(endpoints))]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.readline()
        holders.append(holder)
    return holders


def release(holders):
    alive = 0
    for holder in holders:
        output, _ = holder.communicate(b"\n")
        assert holder.returncode == 0
        alive += json.loads(output)["alive"]
    return alive


def own_bytes(process):
    with open(f"/proc/{process.pid}/smaps_rollup") as file:
        return 1024 * int(re.search(r"^Pss_Anon:\s+(\d+) kB$", file.read(), re.M).group(1))


def main():
    descriptors = 2 * MANY + 10_000
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    subprocess.run(["modprobe", "vsock_loopback"], check=True)
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
        file.write("1024 65535")
    server = subprocess.Popen([LOAD, "serve", "4"], stdout=subprocess.PIPE)
    ports = json.loads(server.stdout.readline())["ports"]
    crowded, at_crowded = start("crowded", ports[:2], (8301, 8302))
    calm, at_calm = start("calm", ports[2:], (8303, 8304))
    try:
        before = own_bytes(crowded)
        many = hold(at_crowded, MANY)
        each = (own_bytes(crowded) - before) / MANY
        few = hold(at_calm, FEW)
        micros = {"crowded": [], "calm": []}
        for _ in range(ROUNDS):
            for name, endpoints in (("crowded", at_crowded), ("calm", at_calm)):
                micros[name].append(load("connections", endpoints[0], CLIENTS, ROUND_MS)["p99Micros"])
        alive = release(many)
        release(few)
        print(json.dumps({
            "alive": alive,
            "bytesEach": each,
            "p99Micros": {name: statistics.median(all) for name, all in micros.items()},
        }))
    finally:
        for process in (server, crowded, calm):
            process.terminate()


main()
