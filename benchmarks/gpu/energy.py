"""The GPU's energy between two times: every line "from to" on stdin, in milliseconds since 1970, is answered by joules, or null.

NVML counts the energy of the whole card since its driver was loaded, and moves the counter on some ten times a second; between two of its steps it is taken as even.
"""
import json
import sys
import threading
import time

points = []  # (milliseconds, joules), where the counter has moved


def watch(handle):
    import pynvml

    while True:
        joules = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
        now = time.time() * 1000
        if not points or points[-1][1] != joules:
            points.append((now, joules))
        time.sleep(0.01)


def at(t):
    for (t0, e0), (t1, e1) in zip(points, points[1:]):
        if t0 <= t <= t1:
            return e0 + (e1 - e0) * (t - t0) / (t1 - t0)
    return None


try:
    import pynvml

    pynvml.nvmlInit()
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    pynvml.nvmlDeviceGetTotalEnergyConsumption(device)
    threading.Thread(target=watch, args=(device,), daemon=True).start()
    why = None
except Exception as error:  # no package, no driver, a device without the counter: there is no energy
    why = f"{type(error).__name__}: {error}"
    print(why, file=sys.stderr)

for line in sys.stdin:
    begin, end = map(float, line.split())
    deadline = time.time() + 2
    while why is None and (not points or points[-1][0] < end) and time.time() < deadline:
        time.sleep(0.02)
    a, b = (None, None) if why is not None else (at(begin), at(end))
    print(json.dumps(None if a is None or b is None else b - a), flush=True)
