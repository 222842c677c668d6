"""Does training data hold the cases of a golden set?

```python
found = check_contamination({"support": cases}, [(path, "data/train.jsonl")], Options())
found.leaks, found.sources, found.exit_code
diff_versions(old, new).repeated      # cases of a new version that the old one asked already
```

`rows` and `reading` turn files into rows, `text` turns texts into words, `probes` says what is looked for, `index` and
`scan` find it, `checking` counts.
"""

from __future__ import annotations

from evalharness.contamination.checking import check_contamination
from evalharness.contamination.probes import NGRAM, THRESHOLD, Options
from evalharness.contamination.reading import find_files
from evalharness.contamination.result import Contamination, Leak, Match, Source
from evalharness.contamination.versions import SliceChange, VersionDiff, diff_versions

__all__ = [
    "NGRAM",
    "THRESHOLD",
    "Contamination",
    "Leak",
    "Match",
    "Options",
    "SliceChange",
    "Source",
    "VersionDiff",
    "check_contamination",
    "diff_versions",
    "find_files",
]
