"""Two interpreters that use each other's functions over a pair of pipes: one has the answer, one the tests.

Never imported: its text runs inside a sandbox, before that of `_code_answer` or `_code_tests`, in an interpreter that
may be older than the one outside. One line of JSON is one message; the two take turns, so a function given to the other
side can be called while a call of one's own is under way.

Plain data is copied. Anything else stays where it is and is seen as a `Remote`. Only the side with the answer lets the
other reach into its objects: of what the tests hand out, functions can be called and iterators stepped, no more, since
attributes of functions and frames lead to the expected values. A `Remote` is compared and calculated with others of its
kind only: an object of the answer that claims to be equal to everything is not equal to data.
"""

import builtins
import collections
import importlib
import json
import operator
import os
import sys
from typing import Any

_MOST = 32_000_000
_TEXTS = {"Decimal": "decimal", "Fraction": "fractions", "date": "datetime", "datetime": "datetime"}
_COMPARED = ["eq", "lt", "le", "gt", "ge"]
_PAIRED = [*_COMPARED, "add", "sub", "mul", "truediv", "floordiv", "mod", "matmul", "and_", "or_", "xor"]
_ALONE: "dict[str, Any]" = {
    "len": len,
    "iter": iter,
    "next": next,
    "str": str,
    "repr": repr,
    "bool": bool,
    "abs": abs,
    "neg": operator.neg,
}
_REACHING: "dict[str, Any]" = {
    "get": getattr,
    "set": setattr,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
}


class Gone(BaseException):
    """The other side has ended."""


class Peer:
    """This side's end. `reachable`: whether the other side may reach into objects of this one."""

    def __init__(self, reading: int, writing: int, reachable: bool) -> None:
        self._in = os.fdopen(reading, "rb")
        self._out = os.fdopen(writing, "wb")
        self._reachable = reachable
        self._numbers: dict[int, int] = {}
        self._objects: list[Any] = []
        self._seen: dict[int, Remote] = {}
        self._errors: dict[str, type[Exception]] = {}
        self.gone = False

    def send(self, message: Any) -> None:
        """Send one message."""
        try:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()
        except OSError:
            self.gone = True
            raise Gone from None

    def receive(self) -> Any:
        """The next message. Raises Gone."""
        line = b"" if self.gone else self._in.readline(_MOST)
        if not line.endswith(b"\n"):
            self.gone = True
            raise Gone
        return json.loads(line)

    def greeted(self) -> "list[tuple[str, Any]] | str":
        """What the answer defines, from its first message; why there is nothing, else."""
        try:
            hello = self.receive()
            if "raised" in hello:
                return f"{hello['raised'][0]}: {hello['said'][:300]}"
            return [(str(name), self.unpack(value)) for name, value in hello["names"]]
        except Gone:
            return "the answer's process ended while it was loaded"
        except Exception as error:  # noqa: BLE001 - an answer can write there what it likes
            return f"the answer's process said what cannot be read ({type(error).__name__})"

    def ask(self, **message: Any) -> Any:
        """Have the other side do something; what it gives, or raises. Serves it meanwhile."""
        given = message.get("args", ())
        self.send({**message, "args": [self.pack(item) for item in given]} if given else message)
        while True:
            reply = self.receive()
            if "op" in reply:
                self.serve(reply)
                continue
            for place, value in reply.get("changed", ()):
                _replace(given[place], self.unpack(value))
            if "raised" in reply:
                raise self._error(reply)
            return self.unpack(reply["gave"])

    def serve(self, message: Any) -> None:
        """Do what the other side asks for, and answer it."""
        packed = message.get("args", [])
        args: list[Any] = []
        try:
            args = [self.unpack(item) for item in packed]
            gave = self.pack(self._do(message, args))
            reply: dict[str, Any] = {"gave": gave}
        except Gone:
            raise
        except BaseException as error:  # noqa: BLE001 - the other side decides what it means
            reply = self.pack_error(error)
        changed = []
        for place, item in enumerate(args):
            if type(item) in (list, dict, set, bytearray):
                now = self.pack(item)
                if now != packed[place]:
                    changed.append([place, now])
        if changed:
            reply["changed"] = changed
        self.send(reply)

    def _do(self, message: Any, args: "list[Any]") -> Any:
        op, target = message["op"], self._objects[message["id"]]
        if op == "call":
            return target(*args, **{k: self.unpack(v) for k, v in message.get("named", {}).items()})
        if op in ("iter", "next") and hasattr(type(target), "__next__"):
            return next(target) if op == "next" else target
        if not self._reachable:
            raise TypeError("what a test hands to the answer can be called or stepped, no more")
        if op in _ALONE:
            return _ALONE[op](target)
        if op in _PAIRED:
            return getattr(operator, op)(target, *args)
        return _REACHING[op](target, *args)

    def pack(self, value: Any) -> Any:
        """A value as JSON data, or the number of what stays here."""
        kind = type(value)
        if value is None or kind in (bool, str, float):
            return value
        if kind is int:
            return value if -(2**62) < value < 2**62 else {"i": hex(value)}
        if kind is list:
            return [self.pack(item) for item in value]
        if kind is Remote:
            return {"own": object.__getattribute__(value, "_remote_number")}
        if kind in (bytes, bytearray):
            return {"b" if kind is bytes else "y": value.hex()}
        if kind is complex:
            return {"c": [value.real, value.imag]}
        if kind is range:
            return {"r": [value.start, value.stop, value.step]}
        for letter, base in (("s", set), ("z", frozenset), ("q", collections.deque)):
            if kind is base:
                return {letter: [self.pack(item) for item in value]}
        if kind is tuple or (isinstance(value, tuple) and hasattr(kind, "_fields")):
            return {"t": [self.pack(item) for item in value]}
        if kind in (dict, collections.defaultdict, collections.OrderedDict, collections.Counter):
            return {"d": [[self.pack(k), self.pack(v)] for k, v in value.items()]}
        if _TEXTS.get(kind.__name__) == kind.__module__:
            return {"x": [kind.__name__, value.isoformat() if kind.__module__ == "datetime" else str(value)]}
        return self._pack_object(value)

    def _pack_object(self, value: Any) -> Any:
        kind = type(value)
        if self._reachable and kind is type(sys):
            return {"m": value.__name__}
        if not self._reachable and not callable(value) and not hasattr(kind, "__next__"):
            raise TypeError(
                f"a {kind.__name__} cannot be handed to an answer in another process (process: shared can)"
            )
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        packed = {"h": number, "n": str(getattr(value, "__name__", kind.__name__))[:100]}
        if self._reachable and isinstance(value, type) and issubclass(value, Exception):
            packed["e"] = [base.__name__ for base in value.__mro__]
        return packed

    def unpack(self, value: Any) -> Any:
        """The inverse of `pack` on the other side."""
        if type(value) is list:
            return [self.unpack(item) for item in value]
        if type(value) is not dict:
            return value
        letter = next(iter(value))
        given = value[letter]
        if letter == "h":
            return self._unpack_object(value)
        if letter == "own":
            return self._objects[given]
        if letter in ("t", "s", "z", "q"):
            return {"t": tuple, "s": set, "z": frozenset, "q": collections.deque}[letter](
                map(self.unpack, given)
            )
        if letter == "d":
            return {self.unpack(k): self.unpack(v) for k, v in given}
        if letter == "m":
            # a module of the standard library is the same on both sides; any other stays unknown
            known = getattr(sys, "stdlib_module_names", ())
            return importlib.import_module(given) if str(given).partition(".")[0] in known else None
        if letter == "x":
            made = getattr(importlib.import_module(_TEXTS[given[0]]), given[0])
            return getattr(made, "fromisoformat", made)(given[1])
        if letter in ("b", "y"):
            return (bytes if letter == "b" else bytearray).fromhex(given)
        return int(given, 16) if letter == "i" else {"c": complex, "r": range}[letter](*given)

    def _unpack_object(self, value: Any) -> Any:
        number = value["h"]
        if "e" in value:  # a class of errors must be one here, too, to be caught
            name = value["n"]
            if name not in self._errors:
                self._errors[name] = type(name, (_builtin_error(value["e"]),), {})
            return self._errors[name]
        if number not in self._seen:
            self._seen[number] = Remote(self, number, value["n"])
        return self._seen[number]

    def pack_error(self, error: BaseException) -> "dict[str, Any]":
        """An error as a reply: its classes, what it says, and its arguments where they are data."""
        try:
            said = str(error)[:2000]
        except Exception:  # noqa: BLE001 - an error of the answer's may not even be shown
            said = "?"
        try:
            args = [self.pack(item) for item in error.args] if isinstance(error, Exception) else []
        except Exception:  # noqa: BLE001 - as above
            args = [said]
        return {"raised": [kind.__name__ for kind in type(error).__mro__], "said": said, "with": args}

    def _error(self, reply: Any) -> BaseException:
        names = [str(name) for name in reply["raised"]]
        for name in names:
            if name in self._errors:
                return self._errors[name](reply["said"])
        kind = _builtin_error(names)
        if kind is Exception and names[0] != "Exception":  # SystemExit, or a class only the answer knows
            return Exception(f"{names[0]}: {reply['said']}")
        try:
            return kind(*[self.unpack(item) for item in reply["with"]])
        except Exception:  # noqa: BLE001 - some errors take other arguments than they keep
            return Exception(f"{names[0]}: {reply['said']}")


def _builtin_error(names: "list[str]") -> "type[Exception]":
    for name in names:
        found = getattr(builtins, name, None)
        if isinstance(found, type) and issubclass(found, Exception):
            return found
    return Exception


def _replace(old: Any, new: Any) -> None:
    """Give an argument the content that the call left in it."""
    if type(old) is not type(new):
        return
    if type(old) in (list, bytearray):
        old[:] = new
    elif type(old) in (dict, set):
        old.clear()
        old.update(new)


class Remote:
    """An object of the other side."""

    __slots__ = ("_remote_name", "_remote_number", "_remote_peer")

    def __init__(self, peer: Peer, number: int, name: str) -> None:
        for slot, value in (("_remote_peer", peer), ("_remote_number", number), ("_remote_name", name)):
            object.__setattr__(self, slot, value)

    def __call__(self, *args: Any, **named: Any) -> Any:
        peer = object.__getattribute__(self, "_remote_peer")
        return _ask(self, "call", args, {name: peer.pack(value) for name, value in named.items()})

    def __getattr__(self, name: str) -> Any:
        if name == "__name__":
            return object.__getattribute__(self, "_remote_name")
        if name.startswith("__"):
            raise AttributeError(name)
        return _ask(self, "get", (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        _ask(self, "set", (name, value))

    def __hash__(self) -> int:
        return hash(object.__getattribute__(self, "_remote_number"))


def _ask(remote: Remote, op: str, args: "tuple[Any, ...]" = (), named: Any = None) -> Any:
    peer, number = (object.__getattribute__(remote, slot) for slot in ("_remote_peer", "_remote_number"))
    return peer.ask(op=op, id=number, args=args, named=named or {})


def _equip() -> None:
    def alone(op: str) -> Any:
        return lambda self: _ask(self, op)

    def paired(op: str) -> Any:
        return lambda self, other: _ask(self, op, (other,)) if type(other) is Remote else NotImplemented

    for op in _ALONE:
        setattr(Remote, f"__{op}__", alone(op))
    for op in _PAIRED:
        setattr(Remote, f"__{op.rstrip('_')}__", paired(op))
    for op in ("getitem", "setitem", "delitem"):
        setattr(Remote, f"__{op}__", lambda self, *args, op=op: _ask(self, op, args))


_equip()
