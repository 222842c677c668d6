"""Baselines that people bless: runs kept by content under a name, with who, when and why; never moved by a score."""
