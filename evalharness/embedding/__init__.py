"""Texts → vectors: from a model in this process, a server, or a file.

```python
spec = EmbedderSpec(model="/models/minilm")                                  # sentence-transformers, folder or hub id
spec = EmbedderSpec(base_url="http://127.0.0.1:8001/v1", model="bge-small")  # any OpenAI-compatible server
spec = EmbedderSpec(vectors="/data/documents.npz", query_vectors="/data/queries.npz")  # computed before
embedder = build_embedder(spec, cache=VectorCache(path))                     # cache: None for none
queries = embedder.embed(texts, role="query", ids=ids)                       # float32, shape (texts, dimensions)
documents = embedder.embed(more, role="document", ids=other_ids)
first = truncated(documents, 128)                                            # Matryoshka: cut, length 1 again
```

What vectors depend on is `embedder.identity`, plain data for digests.
"""

from __future__ import annotations

from evalharness.embedding.build import EmbedderSpec, build_embedder, build_source
from evalharness.embedding.cache import CachedEmbedder, VectorCache
from evalharness.embedding.local import LocalEmbedder
from evalharness.embedding.precomputed import PrecomputedEmbedder
from evalharness.embedding.protocol import Embedder, RefusedTextError, Role
from evalharness.embedding.server import ServerEmbedder
from evalharness.embedding.shape import ShapedEmbedder, normalised, truncated

__all__ = [
    "CachedEmbedder",
    "Embedder",
    "EmbedderSpec",
    "LocalEmbedder",
    "PrecomputedEmbedder",
    "RefusedTextError",
    "Role",
    "ServerEmbedder",
    "ShapedEmbedder",
    "VectorCache",
    "build_embedder",
    "build_source",
    "normalised",
    "truncated",
]
