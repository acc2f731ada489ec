"""Pages: an HTML template filled with values, in one file that needs nothing else.

Templates lie in `templates/`; `page.html` is the frame of every page: readable in light and dark, on paper
and on a narrow screen. Every value is escaped, an unknown name in a template is an error, and the page
forbids the browser to load anything from elsewhere.
"""

import base64
import math
import os
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"
IMAGE_TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
UNDEFINED = "–"


def fill(template: str, **values: Any) -> str:
    """The text of a template with these values in it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "interval": interval, "share": share, "count": count}
    return environment.get_template(template).render(**values)


def embedded(image: str | os.PathLike) -> str:
    """An image file as an address that holds the image itself."""
    image = Path(image)
    kind = IMAGE_TYPES[image.suffix]
    return f"data:{kind};base64,{base64.b64encode(image.read_bytes()).decode('ascii')}"


def number(value: float | None, decimals: int = 3, sign: bool = False) -> str:
    """A number with a fixed count of decimals and a true minus; a dash if it is undefined."""
    if value is None or math.isnan(value):
        return UNDEFINED
    rounded = round(value, decimals) or 0.0  # no minus before a zero
    return f"{rounded:{'+' if sign and rounded else ''}.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def share(value: float | None) -> str:
    """A share as per cent."""
    return UNDEFINED if value is None or math.isnan(value) else f"{value:.1%}"


def count(value: int | None) -> str:
    """A whole number with its thousands apart."""
    return UNDEFINED if value is None else f"{value:,}"


def interval(found: dict[str, float | None] | None, decimals: int = 3, sign: bool = False) -> Markup:
    """An estimate (`value`, `low`, `high`) with its interval in small type behind it."""
    if found is None or found["value"] is None:
        return Markup(UNDEFINED)
    text = Markup("{}").format(number(found["value"], decimals, sign))
    if found["low"] is None or found["high"] is None:
        return text
    ends = (number(found[end], decimals, sign) for end in ("low", "high"))
    return text + Markup(' <span class="interval">[{}, {}]</span>').format(*ends)
