"""What a program in the sandbox tries, and must not manage."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from evalharness.sandbox import Ended, Finished, Limits, TimedOut
from tests.sandbox.conftest import LIMITS

TRIES = """
import errno, json, os
def outcome(how):
    try:
        return f"did: {how()}"[:200]
    except BaseException as error:
        return errno.errorcode.get(getattr(error, "errno", None), type(error).__name__)
"""


def test_no_network_reaches_the_host(output: Callable[..., str], tmp_path: Path) -> None:
    name = f"\0evalharness-{uuid.uuid4().hex}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX) as named,
    ):
        udp.bind(("127.0.0.1", 0))
        abstract.bind(name)
        abstract.listen()
        named.bind(str(tmp_path / "s"))
        named.listen()
        found = json.loads(
            output(
                TRIES + "import socket\n"
                "def tcp(host, port): return socket.create_connection((host, port), 2)\n"
                "def unix(path): return socket.socket(socket.AF_UNIX).connect(path)\n"
                "datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                "send = lambda: datagrams.sendto(b'x', ('127.0.0.1', JOB['udp']))\n"
                "print(json.dumps({\n"
                "  'tcp': outcome(lambda: tcp('127.0.0.1', JOB['tcp'])),\n"
                "  'outside': outcome(lambda: tcp('1.1.1.1', 80)),\n"
                "  'name': outcome(lambda: socket.getaddrinfo('example.org', 80)),\n"
                "  'abstract': outcome(lambda: unix(JOB['abstract'])),\n"
                "  'named': outcome(lambda: unix(JOB['named'])),\n"
                "  'vsock': outcome(lambda: socket.socket(40, socket.SOCK_STREAM)),\n"
                "  'raw': outcome(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),\n"
                "  'packet': outcome(lambda: socket.socket(17, socket.SOCK_RAW)),\n"
                "  'netlink': outcome(lambda: socket.socket(16, socket.SOCK_RAW)),\n"
                "  'udp': outcome(send),\n"
                "}))",
                {
                    "tcp": tcp.getsockname()[1],
                    "udp": udp.getsockname()[1],
                    "abstract": name,
                    "named": str(tmp_path / "s"),
                },
            )
        )
        for listener in (tcp, udp, abstract, named):
            listener.settimeout(0.05)
            with pytest.raises(TimeoutError):
                listener.recv(1) if listener is udp else listener.accept()
    assert found == {
        "tcp": "ECONNREFUSED",
        "outside": "ENETUNREACH",
        "name": found["name"],
        "abstract": "ECONNREFUSED",
        "named": "ENOENT",
        "vsock": "EPERM",
        "raw": "EPERM",
        "packet": "EPERM",
        "netlink": "EPERM",
        "udp": "did: 1",  # into the sandbox's own, empty, network
    }
    assert not found["name"].startswith("did")


def test_no_file_of_the_host_is_there(
    output: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"secret-{uuid.uuid4().hex}"
    planted = [tmp_path / "planted.txt", Path("/tmp") / f"evalharness-{uuid.uuid4().hex}"]
    for path in planted:
        path.write_text(secret)
        path.chmod(0o644)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".evalharness").mkdir()
    (tmp_path / ".evalharness" / "cache").write_text(secret)
    try:
        found = output(
            TRIES + "paths = JOB + ['/proc/1/root' + p for p in JOB] + ['/proc/1/cwd/' + p for p in JOB]\n"
            "for path in paths:\n"
            "    seen = outcome(lambda: open(path).read())\n"
            "    assert not seen.startswith('did'), (path, seen)\n"
            "print(sorted(os.listdir('/')), os.listdir('.'), os.getcwd())",
            [
                *map(str, planted),
                str(tmp_path / ".evalharness" / "cache"),
                "/etc/shadow",
                "/etc/passwd",
                "/etc/hostname",
                str(Path.home() / ".ssh" / "id_rsa"),
                str(Path.home() / ".bashrc"),
                str(Path(__file__)),
                "/proc/kcore",
            ],
        )
    finally:
        planted[1].unlink()
    assert found.endswith("[] /scratch")
    assert "'tmp'" not in found and "'home'" not in found and "'run'" not in found


def test_no_environment_of_the_host_is_there(
    output: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = f"secret-{uuid.uuid4().hex}"
    monkeypatch.setenv("SOME_API_KEY", secret)
    monkeypatch.setenv("LD_PRELOAD_NOT", secret)
    found = json.loads(
        output(
            "import glob, json, os\n"
            "seen = ''\n"
            "for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'):\n"
            "    try: seen += open(path, errors='replace').read()\n"
            "    except OSError: pass\n"
            "print(json.dumps([sorted(os.environ), JOB in seen + str(os.environ)]))",
            secret,
        )
    )
    assert found[1] is False
    assert set(found[0]) <= {
        *("HOME", "LANG", "LC_ALL", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS", "PATH", "PWD"),
        *("PYTHONHASHSEED", "TMPDIR", "TZ"),
    }


def test_nothing_is_written_but_to_the_scratch_folder(output: Callable[..., str], tmp_path: Path) -> None:
    target = tmp_path / "target.txt"
    target.write_text("untouched")
    target.chmod(0o666)
    tmp_path.chmod(0o777)
    found = json.loads(
        output(
            TRIES + "write = lambda p: open(p, 'w').write('x')\n"
            "folders = '/ /dev /dev/shm /etc /lib /proc /proc/sys/kernel /sys /tmp /usr'.split()\n"
            "folders += [os.path.dirname(os.__file__), os.path.dirname(JOB)]\n"
            "got = {d: outcome(lambda: write(d + '/planted')) for d in folders}\n"
            "os.symlink(JOB, 'link')\n"
            "os.symlink(os.path.dirname(JOB), 'folder')\n"
            "got['link'] = outcome(lambda: write('link'))\n"
            "got['folder'] = outcome(lambda: write('folder/target.txt'))\n"
            "got['up'] = outcome(lambda: write('../' * 20 + JOB))\n"
            "got['hard'] = outcome(lambda: os.link(os.__file__, 'hard'))\n"
            "got['mount'] = outcome(lambda: write('/proc/self/root' + JOB))\n"
            "got['own'] = outcome(lambda: write('own'))\n"
            "print(json.dumps(got))",
            str(target),
        )
    )
    assert found.pop("own") == "did: 1"
    assert not [(place, how) for place, how in found.items() if how.startswith("did")]
    assert target.read_text() == "untouched"


def test_nothing_remains_of_a_scratch_folder(output: Callable[..., str]) -> None:
    output("open('left', 'w').write('x')")
    assert output("import os; print(os.listdir('.'))") == "[]"


def test_other_processes_cannot_be_seen_ended_or_traced(contained: Callable[..., Ended]) -> None:
    ended = contained(
        TRIES + "import ctypes, signal\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def ptrace(pid):\n"
        "    if libc.ptrace(16, pid, 0, 0) == -1: raise OSError(ctypes.get_errno(), '')\n"
        "pids = sorted(int(p) for p in os.listdir('/proc') if p.isdigit())\n"
        "got = {'pids': pids, 'harness': outcome(lambda: os.kill(JOB, 9)),\n"
        "  'trace': [outcome(lambda: ptrace(p)) for p in pids if p != os.getpid()]}\n"
        "for pid in (1, os.getppid()):\n"
        "    outcome(lambda: os.kill(pid, signal.SIGKILL))\n"
        "    outcome(lambda: os.kill(pid, signal.SIGTERM))\n"
        "print(json.dumps(got))",
        os.getpid(),
    )
    assert isinstance(ended, Finished) and ended.code == 0, ended
    found = json.loads(ended.stdout)
    assert len(found["pids"]) <= 3 and max(found["pids"]) < 10
    assert found["harness"] == "ESRCH"
    assert set(found["trace"]) == {"EPERM"}


def test_to_kill_everything_kills_the_program_alone(contained: Callable[..., Ended]) -> None:
    ended = contained("import os, signal\nos.kill(-1, signal.SIGKILL)\nprint('after')")
    assert ended.seconds < LIMITS.wall_s


def test_there_are_no_rights_to_be_had(output: Callable[..., str]) -> None:
    found = json.loads(
        output(
            TRIES + "import ctypes\n"
            "libc = ctypes.CDLL(None, use_errno=True)\n"
            "def call(number, *args):\n"
            "    if libc.syscall(number, *args) == -1: raise OSError(ctypes.get_errno(), '')\n"
            "def named(name, *args):\n"
            "    if getattr(libc, name)(*args) == -1: raise OSError(ctypes.get_errno(), '')\n"
            "flags = (0x10000000, 0x20000, 0x40000000)\n"
            "got = {str(flag): outcome(lambda: named('unshare', flag)) for flag in flags}\n"
            "got['mount'] = outcome(lambda: named('mount', b'none', b'/scratch', b'tmpfs', 0, None))\n"
            "got['umount'] = outcome(lambda: named('umount2', b'/scratch', 2))\n"
            "got['chroot'] = outcome(lambda: os.chroot('/scratch'))\n"
            "got['root'] = outcome(lambda: os.setuid(0))\n"
            "got['persona'] = outcome(lambda: named('personality', 0x40000))\n"
            "got['memfd'] = outcome(lambda: os.memfd_create('x'))\n"
            "got['setns'] = outcome(lambda: named('setns', os.open('/proc/self/status', 0), 0))\n"
            "got['shm'] = outcome(lambda: named('shmget', 0, 4096, 0o1600))\n"
            "clone = 56 if os.uname().machine == 'x86_64' else 220\n"
            "got['clone'] = outcome(lambda: call(clone, 0x10000011, 0, 0, 0, 0))\n"
            "got['mknod'] = outcome(lambda: os.mknod('d', 0o060666, os.makedev(8, 0)))\n"
            "got['nice'] = outcome(lambda: os.nice(-5))\n"
            "got['host'] = outcome(lambda: __import__('socket').sethostname('x'))\n"
            "status = dict(l.split(':', 1) for l in open('/proc/self/status') if ':' in l)\n"
            "rights = {k: int(status[k], 16) for k in ('CapEff', 'CapPrm', 'CapAmb')}\n"
            "print(json.dumps([got, rights, os.getuid()]))"
        )
    )
    assert not [(what, how) for what, how in found[0].items() if how.startswith("did")]
    assert found[1]["CapEff"] == found[1]["CapPrm"] == found[1]["CapAmb"] == 0
    assert found[2] != 0


def test_ordinary_programs_are_not_in_the_way_of_the_filter(output: Callable[..., str]) -> None:
    assert (
        output(
            "import subprocess, sys, threading, socket, tempfile, asyncio, queue\n"
            "q = queue.Queue()\n"
            "threads = [threading.Thread(target=q.put, args=(i,)) for i in range(4)]\n"
            "[t.start() for t in threads]; [t.join() for t in threads]\n"
            "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'\n"
            "server = socket.create_server(('127.0.0.1', 0))\n"
            "socket.create_connection(server.getsockname()).close()\n"
            "with tempfile.TemporaryDirectory() as d: open(d + '/f', 'w').close()\n"
            "asyncio.run(asyncio.sleep(0))\n"
            "done = subprocess.run([sys.executable, '-S', '-c', 'print(6 * 7)'], capture_output=True, text=True)\n"
            "print(sum(q.get() for _ in range(4)), done.stdout.strip())"
        )
        == "6 42"
    )


def survivors(mark: str) -> list[str]:
    """Processes of this machine whose command line holds the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


DAEMON = """
import os, signal, sys
def daemon():
    if os.fork(): return
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork(): os._exit(0)
    for fd in range(3, 50):
        try: os.close(fd)
        except OSError: pass
    os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(300)", JOB])
"""


@pytest.mark.parametrize(
    ("after", "limits"),
    [
        ("", LIMITS),
        ("os._exit(3)", LIMITS),
        ("while True: pass", Limits(cpu_s=1, wall_s=5.0)),
        ("os.closerange(0, 3)\nimport time; time.sleep(60)", Limits(wall_s=1.0)),
        ("os.kill(os.getpid(), 9)", LIMITS),
    ],
    ids=["ends", "exits", "loops", "sleeps", "dies"],
)
def test_no_process_survives(contained: Callable[..., Ended], after: str, limits: Limits) -> None:
    mark = f"mark-{uuid.uuid4().hex}"
    # three of them, one after another; the last statement of the program is `after`
    contained(f"{DAEMON}\nfor _ in range(3): daemon()\nimport time; time.sleep(0.2)\n{after}", mark, limits)
    assert not survivors(mark)


def test_a_daemon_that_holds_the_output_open_does_not_hold_the_harness(
    contained: Callable[..., Ended],
) -> None:
    began = time.monotonic()
    ended = contained(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\nprint('done')"
    )
    assert isinstance(ended, Finished) and ended.stdout == b"done\n"
    assert time.monotonic() - began < 5


def test_a_program_that_ignores_signals_is_ended(contained: Callable[..., Ended]) -> None:
    ended = contained(
        "import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\n"
        "print('deaf', flush=True)\nimport time\nwhile True: time.sleep(1)",
        limits=Limits(wall_s=1.0),
    )
    assert isinstance(ended, TimedOut) and ended.stdout == b"deaf\n"
