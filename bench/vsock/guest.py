"""Runs in a test machine: measures proxies from vsock to TCP beside each other, and prints a line of JSON for each sample.

guest.py PLAN.json: {"load": [PROGRAM...], "rounds": n, "contenders": [{"name", "command", "endpoint"}],
"courses": [{"name", "load"}]}, where {port} stands for the contender's port of the load generator's server, and {endpoint}
for where it listens. What a contender takes of the processors is read from a control group of its own, and so includes
processes that have ended. After the rounds comes one more for each, in which its system calls are counted.
"""
import json
import os
import re
import subprocess
import sys

TRACING = "/sys/kernel/tracing"
TRIGGER = TRACING + "/events/raw_syscalls/sys_enter/trigger"
COUNTS = TRACING + "/events/raw_syscalls/sys_enter/hist"
TCP_MEMORY = "/proc/sys/net/ipv4/tcp_mem"
# Pages: room for the buffers of 16 sockets, 80 MiB. The kernel gives a machine this small half of that; then it drops
# segments, and connections wait for retransmissions.
ENOUGH = "65536 65536 65536"
COUNTED = "hist:keys=common_pid.execname,id.syscall:size=16384"
# What runs in the machine beside a contender.
OTHERS = {"load", "python3", "sshd", "systemd", "systemd-journal", "systemd-udevd", "dbus-daemon"}


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


class Contender:
    def __init__(self, plan, port):
        self.name = plan["name"]
        self.endpoint = plan["endpoint"]
        self.group = "/sys/fs/cgroup/bench-" + self.name.replace(" ", "-")
        os.makedirs(self.group, exist_ok=True)
        command = [word.replace("{port}", str(port)) for word in plan["command"]]
        # In a session of its own: ncat 7.991 passes SIGTERM on to its process group (github.com/nmap/nmap/issues/3489).
        self.process = subprocess.Popen(command, preexec_fn=self.enter, start_new_session=True, stdout=subprocess.DEVNULL)

    def enter(self):
        write(self.group + "/cgroup.procs", str(os.getpid()))

    def micros(self):
        with open(self.group + "/cpu.stat") as file:
            return int(re.search(r"^usage_usec (\d+)", file.read()).group(1))


def load(plan, arguments):
    output = subprocess.run(plan["load"] + arguments, check=True, stdout=subprocess.PIPE, timeout=600).stdout
    return json.loads(output)


def sample(plan, course, contender):
    before = contender.micros()
    figures = load(plan, [word.replace("{endpoint}", contender.endpoint) for word in course["load"]])
    units = max(1, figures["units"])
    figures["proxyMicros"] = (contender.micros() - before) / units
    return figures


def calls():
    """System calls of the contender by name, since they are counted."""
    counts = {}
    with open(COUNTS) as file:
        for process, call, count in re.findall(r"common_pid: (.*?)\s*-?\s*\[\s*\d+\], id: (\S+)\s*\[.*?hitcount:\s*(\d+)", file.read()):
            if process not in OTHERS:
                counts[call] = counts.get(call, 0) + int(count)
    return counts


def count(plan, course, contender):
    write(TRIGGER, COUNTED)
    try:
        units = max(1, sample(plan, course, contender)["units"])
        return {name: number / units for name, number in calls().items()}
    finally:
        write(TRIGGER, "!" + COUNTED)


def main():
    with open(sys.argv[1]) as file:
        plan = json.load(file)
    subprocess.run(["modprobe", "vsock_loopback"], check=True)
    write(TCP_MEMORY, ENOUGH)
    server = subprocess.Popen(plan["load"] + ["serve", str(len(plan["contenders"]))], stdout=subprocess.PIPE)
    ports = json.loads(server.stdout.readline())["ports"]
    contenders = [Contender(one, port) for one, port in zip(plan["contenders"], ports)]
    try:
        for contender in contenders:
            load(plan, ["await", contender.endpoint])

        def tell(course, contender, **what):
            print(json.dumps({"course": course["name"], "contender": contender.name, **what}), flush=True)

        def warm_up(course):
            for contender in contenders:
                sample(plan, course, contender)

        # In its first seconds, TCP on loopback often takes a full window for a loss (TCPLossProbes in nstat(8)).
        for _ in range(3):
            warm_up(plan["courses"][0])
        for course in plan["courses"]:
            warm_up(course)
            for turn in range(plan["rounds"]):
                first = turn % len(contenders)
                for contender in contenders[first:] + contenders[:first]:
                    tell(course, contender, figures=sample(plan, course, contender))
            for contender in contenders:
                tell(course, contender, calls=count(plan, course, contender))
    finally:
        for process in [server] + [one.process for one in contenders]:
            process.terminate()


main()
