"""Result files of other tools, read as data: `core.benchmarks.Reader` for each tool, one module a tool."""
