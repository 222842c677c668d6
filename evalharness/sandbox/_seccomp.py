"""A system-call filter for bubblewrap: what namespaces leave open is answered with "not permitted".

Namespaces do not cover AF_VSOCK sockets (a virtual machine's line to its host), new namespaces, tracing, memory that no
limit counts (memfd, System V segments), or the parts of the kernel that programs hardly need and that break most often.

The filter is classic BPF as in linux/filter.h: records (code u16, jump-true u8, jump-false u8, k u32) over
`struct seccomp_data` {nr u32, arch u32, instruction pointer u64, args u64[6]}.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping
from typing import Final

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_NR, _ARCH, _ARG0 = 0, 4, 16
_NEW_NAMESPACES: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_FAMILIES: Final = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6: of the sandbox's own, empty, network."""

# name → (x86_64, aarch64); None: the machine has no such call
_DENIED: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mbind": (237, 235),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "shmget": (29, 194),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}
_MACHINES: Final[Mapping[str, tuple[int, int, int, int, int]]] = {
    # column above, AUDIT_ARCH, clone, clone3, socket
    "x86_64": (0, 0xC000003E, 56, 435, 41),
    "aarch64": (1, 0xC00000B7, 220, 435, 198),
}


def filter_program(machine: str | None = None) -> bytes | None:
    """The filter for a machine as `platform.machine()` names it (default: this one); None where it is not known."""
    found = _MACHINES.get(machine or platform.machine())
    if found is None:
        return None
    column, arch, clone, clone3, socket = found

    def refuse(number: int) -> list[tuple[int, int, int, int]]:
        return [(_RETURN, 0, 0, _ERRNO | number)]

    code: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),  # calls of another ABI have other numbers
        (_LOAD, 0, 0, _NR),
    ]
    if column == 0:  # the x32 ABI of x86_64, told by this bit
        code += [(_AT_LEAST, 0, 1, 0x40000000), *refuse(_EPERM)]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            code += [(_EQUAL, 0, 1, number), *refuse(_EPERM)]
    # clone3 takes its flags in memory, where no filter can look; libraries fall back to clone
    code += [(_EQUAL, 0, 1, clone3), *refuse(_ENOSYS)]
    code += [
        (_EQUAL, 0, 3, clone),
        (_LOAD, 0, 0, _ARG0),
        (_ANY_BIT, 0, 1, _NEW_NAMESPACES),
        *refuse(_EPERM),
        (_LOAD, 0, 0, _NR),
        (_EQUAL, 0, 2 + len(_FAMILIES), socket),
        (_LOAD, 0, 0, _ARG0),
    ]
    for place, family in enumerate(_FAMILIES):
        code.append((_EQUAL, len(_FAMILIES) - place, 0, family))
    code += [*refuse(_EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in code)
