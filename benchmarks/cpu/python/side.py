"""One measurement of a peer, in a process of its own: `python side.py '<job as JSON>'` prints one line of JSON. The jobs of job.ts.

The parent says in NBIT_BENCH_STARTED when it started this process (milliseconds since 1970): start-up counts from there.
"""

import json
import os
import sys
import time

sys.dont_write_bytecode = True  # nothing is left in the checkout


class Meter:
    """Losses of the first steps, then times of stretches of steps. `tick` is called after every step; plan.ts has the same numbers."""

    def __init__(self, job):
        steps = job["steps"]
        if job.get("cold"):
            self.warm_up, self.chunk, chunks = 1, steps, 1
        else:
            chunks = min(20, steps)
            self.warm_up, self.chunk = job.get("warmUp", max(4, steps >> 2)), steps // chunks
        self.total = self.warm_up + self.chunk * chunks
        self.checked = min(10, self.total)
        self.done, self.times, self.start_seconds = 0, [], None

    def tick(self, wait=None):
        """`wait` returns when everything that was asked for is computed; null where calls do not return before."""
        self.done += 1
        done = self.done - self.warm_up
        stretch = done >= 0 and done % self.chunk == 0
        if wait and (stretch or self.done == 1):
            wait()
        if self.done == 1:
            self.start_seconds = since_start()
        if not stretch:
            return
        now, busy = time.perf_counter_ns(), time.process_time_ns()
        if done > 0:
            self.times.append((now - self.start) / self.chunk / 1000)
        else:
            self.first, self.first_busy = now, busy
        self.start = now
        self.cores = (busy - self.first_busy) / max(1, now - self.first)

    def result(self, losses):
        return {"us": median(self.times), "losses": losses, "startSeconds": self.start_seconds, "cores": self.cores}


def since_start():
    return time.time() - float(os.environ["NBIT_BENCH_STARTED"]) / 1000


def median(times):
    return sorted(times)[len(times) // 2]


def peak_mib():
    """Of this program alone: getrusage would count what the parent had when it forked."""
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024


def versions():
    from importlib.metadata import PackageNotFoundError, version
    from shutil import which

    found = {"python": sys.version.split()[0], "compiler": which(os.environ.get("CXX", "g++")) is not None}
    for package in ("torch", "lightning", "jax"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if found["torch"] is not None:
        import torch

        found["torch"], found["capability"] = torch.__version__, torch.backends.cpu.get_cpu_capability()
    return found


def run(job):
    if job["kind"] == "versions":
        return versions()
    if job["kind"] == "step" and job["side"] == "jax":
        import jax_side as side
    elif job["kind"] == "overhead":
        import overhead as side
    else:
        import torch_side as side
    return getattr(side, job["kind"])(job)


if __name__ == "__main__":
    sys.modules["side"] = sys.modules["__main__"]
    result = run(json.loads(sys.argv[1]))
    used = os.times()
    cpu_seconds = used.user + used.system + used.children_user + used.children_system
    print(json.dumps({**result, "peakMiB": peak_mib(), "cpuSeconds": cpu_seconds, "seconds": since_start()}))
