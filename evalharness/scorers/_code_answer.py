"""The side with the answer: loads it and lets the tests, which are in another sandbox, call what it defines.

Never imported: its text runs after `_code_peer`'s. `answer.py` lies in the scratch folder.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalharness.scorers._code_peer import Gone, Peer


def _serve() -> None:
    # What the answer prints must not end up between the messages, nor can it read them by accident.
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    peer = Peer(reading, writing, True)
    try:
        import answer  # type: ignore[import-not-found]
    except BaseException as error:
        peer.send(peer.pack_error(error))
        raise
    names: list[Any] = []
    for name, value in vars(answer).items():
        if not name.startswith("__"):
            names.append([name, peer.pack(value)])
    sys.stdout.flush()
    peer.send({"names": names})
    try:
        while True:
            peer.serve(peer.receive())
    except Gone:
        pass


_serve()
