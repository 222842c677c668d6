"""What every source of vectors looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from evalharness.errors import ProviderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Role: TypeAlias = Literal["query", "document"]
"""What a text is: many models are told by a prompt, and place both kinds in one space."""


class RefusedTextError(ProviderError):
    """The server refuses one text (too long, empty) and would refuse it again. `index` is its place in the call."""

    def __init__(self, index: int, message: str) -> None:
        self.index = index
        super().__init__(message)


@runtime_checkable
class Embedder(Protocol):
    """A source of vectors. May be used from one thread at a time, in any number of calls."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What its vectors depend on, as plain data: the model's content or name, prompts, dimensions."""
        ...

    def embed(
        self, texts: Sequence[str], *, role: Role = "document", ids: Sequence[str] | None = None
    ) -> NDArray[np.float32]:
        """One finite vector a text; shape (len(texts), dimensions), in order.

        Args:
            texts: what is embedded; equal texts are embedded once.
            role: what the texts are.
            ids: the texts' names, by which vectors that were computed before are found. Others do not read them.

        Raises:
            RefusedTextError: a text that the server will never take.
            ProviderError: the server cannot be reached or failed to the end of the retries.
            UsageError: the model cannot be loaded, a vector is not in the file, a key is missing.
        """
        ...
