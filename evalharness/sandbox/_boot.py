"""Runs first inside the sandbox: gives up rights, sets limits, then becomes the program that standard input holds.

Never imported: its text is handed to the contained interpreter, which may be older than the one outside.
"""

import json
import os
import resource
import sys


def _boot() -> dict:  # type: ignore[type-arg]
    spec = json.loads(sys.argv[1])
    uid = spec["uid"]
    if uid is not None:  # root outside: the limit of processes holds for any other user only
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    os.umask(0o077)
    os.chdir(spec["scratch"])
    for name, value in spec["limits"].items():
        number = getattr(resource, name, None)
        if number is not None:
            resource.setrlimit(number, tuple(value))
    os.write(2, b"\x06")  # what is on standard error after this mark is the program's

    def exactly(count: int) -> bytes:
        parts = []
        while count:
            part = os.read(0, min(count, 1 << 20))
            if not part:
                os._exit(125)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    package: dict = json.loads(exactly(int(exactly(10))))  # type: ignore[type-arg]
    for name, text in package["files"].items():
        with open(os.path.basename(name), "w", encoding="utf-8", errors="surrogatepass") as file:
            file.write(text)
    sys.argv[:] = ["main.py"]
    return package


_package = _boot()
exec(compile(_package["main"], "main.py", "exec"), {"__name__": "__main__", "JOB": _package["job"]})
