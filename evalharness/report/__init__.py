"""One verdict in, five renderings out: JSON, HTML, Markdown, JUnit XML, terminal. Nothing here computes a statistic."""
