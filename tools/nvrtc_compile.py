"""Compiles kernels with NVRTC; no GPU is needed.

stdin: {"library", "jobs": [{"name", "source", "headers": {name: text}, "options", "kernels"}]}; stdout: a line of JSON for
each job.
"""
import ctypes
import json
import sys

request = json.load(sys.stdin)
nvrtc = ctypes.CDLL(request["library"])


def call(name, *arguments):
    return getattr(nvrtc, name)(*arguments)


for job in request["jobs"]:
    program = ctypes.c_void_p()
    headers = job["headers"]
    strings = ctypes.c_char_p * len(headers)
    texts, names = strings(*(t.encode() for t in headers.values())), strings(*(n.encode() for n in headers))
    source, name = job["source"].encode(), job["name"].encode()
    status = call("nvrtcCreateProgram", ctypes.byref(program), source, name, len(headers), texts, names)
    options = [o.encode() for o in job["options"]]
    status = status or call("nvrtcCompileProgram", program, len(options), (ctypes.c_char_p * len(options))(*options))
    size = ctypes.c_size_t()
    call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    call("nvrtcGetProgramLog", program, log)
    code = b""
    if status == 0:
        call("nvrtcGetCUBINSize", program, ctypes.byref(size))
        cubin = ctypes.create_string_buffer(size.value)
        call("nvrtcGetCUBIN", program, cubin)
        code = cubin.raw
    missing = [k for k in job["kernels"] if f".text.{k}".encode() not in code]
    call("nvrtcDestroyProgram", ctypes.byref(program))
    print(json.dumps({"name": job["name"], "options": job["options"], "ok": status == 0 and not missing, "bytes": len(code), "missing": missing, "log": log.value.decode(errors="replace")}), flush=True)
