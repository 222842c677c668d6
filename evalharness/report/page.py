"""What every page has in common: its template, its assets, and a policy that lets it load and run nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup, escape

from evalharness.report.text import tall

_TEMPLATES: Final = Path(__file__).parent / "templates"
_TICKED: Final = re.compile(r"`([^`\n]{1,200})`")


@cache
def asset(name: str) -> str:
    """A style or script of the templates' folder, ended by one line end."""
    return (_TEMPLATES / name).read_text(encoding="utf-8").strip() + "\n"


@cache
def template(name: str) -> jinja2.Template:
    """A template that escapes what it is given and stops at a name it does not know."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["tall"] = tall
    environment.filters["coded"] = _coded
    return environment.get_template(name)


def _coded(text: str) -> Markup:
    """Escaped, and what stands between backticks as code."""
    return Markup(_TICKED.sub(r"<code>\1</code>", str(escape(text))))


def content_policy(css: str, js: str | None = None) -> str:
    """Nothing may be loaded, sent, framed or run but the style, and the script where there is one, by their hashes."""
    script = f" script-src {_source(js)};" if js is not None else ""
    return f"default-src 'none'; style-src {_source(css)};{script} img-src data:; base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    # What a browser hashes is exactly what stands between the tags: a newline, then the text.
    code = hashlib.sha256(("\n" + text).encode()).digest()
    return f"'sha256-{base64.b64encode(code).decode()}'"
