"""Stored runs and reports over time: what was found, what is read of it, and how it is measured."""
