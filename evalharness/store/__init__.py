"""The only package that reads or writes run files and the response cache."""
