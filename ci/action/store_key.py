"""Whether the store changed since the cache was restored, and under which key it is saved.

    python -I ci/action/store_key.py STORE

Outputs: `key`, "" where there is nothing to save. The key is made of what the store holds, so an unchanged one finds
its own key again and is not saved twice.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

MOST_BYTES = 2_000_000_000
"""A larger store is not saved: it would push every other cache of the repository out."""


def main(store: Path) -> int:
    state = hashlib.sha256()
    total = 0
    files = sorted(path for path in store.rglob("*") if path.is_file() and not path.is_symlink())
    for path in files:
        data = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                data.update(block)
        total += path.stat().st_size
        state.update(f"{path.relative_to(store).as_posix()}\0{data.hexdigest()}\n".encode())
    key = os.environ["CACHE_KEY"] + state.hexdigest()[:32] if files else ""
    if key and key == os.environ.get("CACHE_FOUND"):
        key = ""
    if total > MOST_BYTES:
        print(f"::notice title=evalharness::the store has {total // 1_000_000} MB and is not cached")
        key = ""
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(f"key={key}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
