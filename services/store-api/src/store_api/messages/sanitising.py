"""HTML of messages, made safe to show: no scripts, no forms, nothing loaded from elsewhere unless it is asked for.

The parser behind `nh3` takes time in proportion to depth for each element: what is nested deeper than any letter isn't
shown as HTML at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import nh3

# Ours. That many elements cost little however they are nested; newsletters have some hundreds.
MAX_ELEMENTS: Final = 5_000
MAX_DEPTH: Final = 500
_VOID: Final = frozenset(
    {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "p", "li", "td", "th", "tr", "tbody", "wbr"}
)
# Elements whose contents are read by other rules, so that counting tags would miss what is nested in them.
_OTHER_RULES: Final = re.compile(
    r"<(?:textarea|xmp|iframe|noembed|noframes|noscript|plaintext|template|svg|math|select|!\[CDATA\[)", re.IGNORECASE
)
_TAG: Final = re.compile(
    r"<!--(?:-?>|.*?(?:--!?>|\Z))"
    r"|<(script|style|title)\b.*?(?:</\1\b|\Z)"
    r"|<(/?+)([a-z][^\s/>]*+)(?:[^>\"']++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))*+",
    re.IGNORECASE | re.DOTALL,
)
_IMAGE_DATA: Final = re.compile(r"data:image/(?:png|gif|jpeg|webp);base64,", re.IGNORECASE)

_LAYOUT: Final = {"align", "bgcolor", "dir", "height", "lang", "style", "title", "valign", "width"}
_ATTRIBUTES: Final[dict[str, set[str]]] = {
    "*": _LAYOUT,
    "a": {"href", "name"},
    "img": {"src", "alt", "border", "hspace", "vspace"},
    "font": {"color", "face", "size"},
    "ol": {"start", "type"},
    "table": {"border", "cellpadding", "cellspacing"},
    "td": {"colspan", "rowspan", "nowrap"},
    "th": {"colspan", "rowspan", "nowrap"},
}
_TAGS: Final = nh3.ALLOWED_TAGS | {"font", "u", "s", "section", "article", "header", "footer", "main", "big", "address"}
# None of these can name a resource or leave its place in the page.
_STYLES: Final = {
    "background-color", "border", "border-bottom", "border-collapse", "border-color", "border-left", "border-radius",
    "border-right", "border-spacing", "border-style", "border-top", "border-width", "color", "direction", "display",
    "font", "font-family", "font-size", "font-style", "font-weight", "height", "letter-spacing", "line-height",
    "margin", "margin-bottom", "margin-left", "margin-right", "margin-top", "max-width", "min-width", "padding",
    "padding-bottom", "padding-left", "padding-right", "padding-top", "text-align", "text-decoration",
    "text-indent", "text-transform", "vertical-align", "white-space", "width", "word-break", "word-wrap",
}  # fmt: skip
_SCHEMES: Final = {"http", "https", "mailto", "tel", "data", "cid"}
_LOADING: Final = re.compile(r"url|image|expression|\\", re.IGNORECASE)


@dataclass(slots=True)
class _Images:
    """Where images may come from: parts of the message by Content-ID, and other servers only if `remote`."""

    parts: Mapping[str, str]
    remote: bool
    blocked: bool = False
    own: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.own = frozenset(self.parts.values())

    def filtered(self, element: str, attribute: str, value: str) -> str | None:
        """The value that an attribute gets, None: the attribute is left out."""
        address = value.strip()
        if attribute == "href":
            return None if address[:5].lower() == "data:" or address[:4].lower() == "cid:" else value
        if attribute == "style":
            return ";".join(declaration for declaration in value.split(";") if not _LOADING.search(declaration))
        if attribute != "src":
            return value
        if address[:4].lower() == "cid:":
            return self.parts.get(address[4:].strip("<>"))
        if _IMAGE_DATA.match(address) or (self.remote and address[:6].lower() in ("http:/", "https:")):
            return address
        self.blocked = True
        return None

    def relative(self, url: str) -> str | None:
        return url if url in self.own else None


@dataclass(frozen=True, slots=True)
class Sanitised:
    """Safe HTML; `blocked`: images on other servers were left out."""

    html: str
    blocked: bool


def sanitise(html: str, parts: Mapping[str, str], *, remote_images: bool = False) -> Sanitised | None:
    """Make HTML safe to show in a page. None: it is nested beyond any letter.

    `parts`: addresses of the images in the message, by Content-ID.
    """
    if _is_deep(html):
        return None
    images = _Images(parts, remote_images)
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=images.filtered,
        filter_style_properties=_STYLES,
        url_schemes=_SCHEMES,
        url_relative=images.relative,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Sanitised(clean, images.blocked)


def _is_deep(html: str) -> bool:
    """Whether elements may be nested deeper than MAX_DEPTH; only asked where there are many."""
    if html.count("<") <= MAX_ELEMENTS:
        return False
    if _OTHER_RULES.search(html):
        return True
    depth = 0
    open_elements: dict[str, int] = {}
    for _, closes, name in _TAG.findall(html):
        name = name.lower()
        if not name or name in _VOID:
            continue
        number = open_elements.get(name, 0)
        if not closes:
            depth += 1
            open_elements[name] = number + 1
        elif number:
            depth -= 1
            open_elements[name] = number - 1
        if depth > MAX_DEPTH:
            return True
    return False
