"""Unpacks the native part of a wheel (libraries, headers, licences) and checks every file against the wheel's RECORD.

Usage: unpack_wheel.py WHEEL FOLDER [PATTERN]; PATTERN is a regular expression of what is unpacked, in place of libtorch. Prints one JSON object per line: {"done", "total"} in bytes while it works, at last {"requires": [...]}, the
CUDA packages that the wheel asks for on this machine, or {"error": KIND, "message"} with exit status 1. A file that is there already and is right is kept: an interrupted run goes on.
"""

import base64
import csv
import errno
import hashlib
import io
import json
import os
import re
import sys
import time
import zipfile

WANTED = re.compile(r"(torch/(lib/|include/|version\.py$)|nvidia/|[^/]+\.libs/|[^/]+\.dist-info/(METADATA$|RECORD$|licenses/|NOTICE|LICEN[CS]E))")
# Python bindings, and libraries of PyTorch's own tests: a fifth of the download's size, of no use here.
UNWANTED = re.compile(r"torch/lib/lib(torch_python|shm|backend_with_compiler|aoti_custom_ops|\w*_test|torchbind_test)\w*(\.so|/)|\.py[co]?$|/$")
KEEP = re.compile(r"torch/version\.py$")


def say(**message):
    print(json.dumps(message), flush=True)


def fail(kind, message):
    say(error=kind, message=str(message))
    sys.exit(1)


def digest(stream):
    sha = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        sha.update(chunk)
    return base64.urlsafe_b64encode(sha.digest()).rstrip(b"=").decode()


def requirements(metadata):
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError:
        return []
    found = []
    for line in metadata.splitlines():
        if not line.startswith("Requires-Dist:"):
            continue
        requirement = Requirement(line.split(":", 1)[1].strip())
        if re.match(r"nvidia-|cuda-toolkit$", requirement.name) and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            requirement.marker = None
            found.append(str(requirement))
    return found


def main(wheel, folder, pattern=None):
    with zipfile.ZipFile(wheel) as archive:
        wanted = re.compile(pattern) if pattern else None
        names = archive.namelist()
        record_name = next((n for n in names if n.endswith(".dist-info/RECORD")), None)
        if record_name is None:
            fail("corrupt", "the wheel has no RECORD")
        record = {row[0]: row[1] for row in csv.reader(io.TextIOWrapper(archive.open(record_name), "utf8")) if row}
        if wanted:
            infos = [i for i in archive.infolist() if wanted.match(i.filename) and not i.is_dir()]
        else:
            infos = [i for i in archive.infolist() if WANTED.match(i.filename) and (KEEP.search(i.filename) or not UNWANTED.search(i.filename))]
        total = sum(i.file_size for i in infos)
        done, said = 0, 0.0
        for info in infos:
            name = info.filename
            if ".." in name.split("/") or name.startswith("/"):
                fail("corrupt", f"{name} points outside of the wheel")
            expected = record.get(name, "").removeprefix("sha256=")
            if expected == "" and name != record_name:
                fail("corrupt", f"{name} is not in RECORD")
            target = os.path.join(folder, name)
            if not is_right(target, info.file_size, expected):
                write(archive, info, target, expected)
            done += info.file_size
            if time.monotonic() - said > 0.1:
                said = time.monotonic()
                say(done=done, total=total)
        metadata_name = record_name.replace("RECORD", "METADATA")
        say(requires=requirements(archive.read(metadata_name).decode()) if metadata_name in names else [])


def is_right(target, size, expected):
    try:
        if expected == "" or os.path.getsize(target) != size:
            return False
        with open(target, "rb") as stream:
            return digest(stream) == expected
    except OSError:
        return False


def write(archive, info, target, expected):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    sha = hashlib.sha256()
    with archive.open(info) as source, open(target, "wb") as out:
        while chunk := source.read(1 << 20):
            sha.update(chunk)
            out.write(chunk)
    got = base64.urlsafe_b64encode(sha.digest()).rstrip(b"=").decode()
    if expected not in ("", got):
        os.remove(target)
        fail("corrupt", f"{info.filename}: expected sha256 {expected}, got {got}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (zipfile.BadZipFile, EOFError, UnicodeDecodeError) as error:
        fail("corrupt", error)
    except OSError as error:
        fail("disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "unwritable", error)
    except Exception as error:  # zlib.error and its like: the data is not what the wheel says
        fail("corrupt", f"{type(error).__name__}: {error}")
