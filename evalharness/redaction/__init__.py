"""Keys and personal data taken out at their source: before a text is cut, counted or escaped, or as it arrives."""

from __future__ import annotations

from evalharness.redaction.arrival import Arrival as Arrival
from evalharness.redaction.keys import secret_values as secret_values
from evalharness.redaction.redactor import Redactor as Redactor
from evalharness.redaction.redactor import is_marks as is_marks
