"""Zip files that somebody else wrote: members as bytes, never as files, and never more than the limits.

A member whose header says too large a size is not unpacked, and no more is unpacked than the header says.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Final

from evalharness._lazy import require
from evalharness.errors import SpecError
from evalharness.readers._files import refuse

MOST_MEMBERS: Final = 2_000_000
MOST_MEMBER_BYTES: Final = 256_000_000
MOST_TOTAL_BYTES: Final = 4_000_000_000
MOST_RATIO: Final = 250
"""All members together may grow to MOST_TOTAL_BYTES, or to so many times the file, whichever is more."""
_ZSTANDARD: Final = 93
_DIRECTORY_ENTRY_BYTES: Final = 46
_HEADER: Final = struct.Struct("<4s5H3L2H")


class Archive:
    """The members of a zip file by name; of a name that stands twice, the last."""

    def __init__(self, path: Path) -> None:
        """Read the directory.

        Raises:
            SpecError: it is no zip file, damaged, encrypted or has too many members.
        """
        self.path = path
        try:
            self._size = path.stat().st_size
            self._stream: IO[bytes] = path.open("rb")
        except OSError as error:
            raise refuse(path, f"cannot be read: {error.strerror or error}") from None
        self._left = max(MOST_TOTAL_BYTES, MOST_RATIO * self._size)
        try:
            self.members = self._directory()
        except SpecError:
            self.close()
            raise

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _directory(self) -> dict[str, zipfile.ZipInfo]:
        self._refuse_crowd()
        try:
            with zipfile.ZipFile(self._stream) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
            message = f"is not a whole zip file ({error})"
            raise refuse(self.path, message, "it is damaged or was cut off; copy it again") from None
        if any(info.flag_bits & 1 for info in infos):
            raise refuse(self.path, "is encrypted", "write it without a password")
        return {info.filename: info for info in infos}

    def _refuse_crowd(self) -> None:
        """Refuse a directory that is too large before it is held."""
        tail_bytes = min(self._size, 65_557)
        self._stream.seek(self._size - tail_bytes)
        tail = self._stream.read(tail_bytes)
        place = tail.rfind(b"PK\x05\x06")
        if place >= 0 and len(tail) >= place + 22:
            count, size = struct.unpack_from("<HL", tail, place + 10)
            if size == 0xFFFFFFFF or count == 0xFFFF:  # a zip64 file says it in a record of its own
                record = tail.rfind(b"PK\x06\x06", 0, place)
                if record >= 0 and len(tail) >= record + 48:
                    size = struct.unpack_from("<Q", tail, record + 40)[0]
            if min(size, self._size) > MOST_MEMBERS * _DIRECTORY_ENTRY_BYTES * 4:
                raise refuse(self.path, f"has more than {MOST_MEMBERS:,} members")
        self._stream.seek(0)

    def read(self, name: str) -> bytes:
        """What a member holds.

        Raises:
            SpecError: it is damaged, or it or all that was read so far is larger than the limits.
            MissingExtraError: it is compressed with Zstandard, and that is not installed.
        """
        info = self.members[name]
        most = min(MOST_MEMBER_BYTES, self._left)
        if info.file_size > most:
            raise self._too_large(name)
        try:
            # one byte more than the header says: a member that goes on is no whole member
            data = _inflated(self._raw(info), info.compress_type, info.file_size + 1)
        except (zlib.error, ValueError, OSError, EOFError, struct.error) as error:
            raise self._damaged(name, str(error)) from None
        if data is None:
            raise refuse(
                self.path, f"{name!r} is compressed in a way that is not known ({info.compress_type})"
            )
        if len(data) != info.file_size:
            more = "more" if len(data) > info.file_size else "less"
            raise self._damaged(name, f"it holds {more} than its header says")
        if zlib.crc32(data) != info.CRC:
            raise self._damaged(name, "its checksum is wrong")
        self._left -= len(data)
        return data

    def _raw(self, info: zipfile.ZipInfo) -> bytes:
        self._stream.seek(info.header_offset)
        header = _HEADER.unpack(self._stream.read(_HEADER.size))
        if header[0] != b"PK\x03\x04":
            raise ValueError("it is not where the directory says")
        self._stream.seek(header[-2] + header[-1], io.SEEK_CUR)
        raw = self._stream.read(info.compress_size)
        if len(raw) != info.compress_size:
            raise ValueError("it is cut off")
        return raw

    def _too_large(self, name: str) -> SpecError:
        return refuse(
            self.path,
            f"{name!r} grows beyond {MOST_MEMBER_BYTES // 1_000_000} MB, or all members beyond "
            f"{max(MOST_TOTAL_BYTES, MOST_RATIO * self._size) // 1_000_000:,} MB, when unpacked",
            "such a file is made to fill a disk or memory",
        )

    def _damaged(self, name: str, why: str) -> SpecError:
        return refuse(self.path, f"{name!r} is damaged ({why})", "copy the file again")


def _inflated(raw: bytes, method: int, most: int) -> bytes | None:
    """At most `most` bytes of what `raw` unpacks to; None for a method that is not known."""
    if method == zipfile.ZIP_STORED:
        return raw[:most]
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-15).decompress(raw, most)
    if method == _ZSTANDARD:
        zstandard: Any = require("zstandard", extra="benchmarks", why="read a log compressed with Zstandard")
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True)
        try:
            data: bytes = reader.read(most)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
        return data
    return None
