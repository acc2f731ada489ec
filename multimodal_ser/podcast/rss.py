"""Podcast feeds: RSS with enclosures and Podcasting 2.0's `<podcast:transcript>`, from strangers.

Expat reads the file as a stream of events, so no tree of it is built. A document type declaration is refused
where it begins: entities, and bombs of them, live there, and no feed needs one. Size, depth and length of
texts are bounded. Addresses are only joined to the feed's own and not looked at here.
"""

from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import urljoin
from xml.parsers import expat

from multimodal_ser.errors import InputError
from multimodal_ser.transcripts.cues import tidy

MOST_BYTES = 64 * 2**20  # of a feed; 10,000 items with long notes have less
DEEPEST = 64  # elements within each other
LONGEST_TEXT = 10_000  # characters kept of a title, a date, an id
NAMESPACES = (  # of Podcasting 2.0, and the one of its drafts, which feeds still use
    "https://podcastindex.org/namespace/1.0",
    "https://github.com/podcastindex-org/podcast-namespace/blob/main/docs/1.0.md",
)
# How good a format is to score with: times and speakers, then times. Plain text and HTML have neither.
FORMATS = {
    "application/json": ".json",
    "application/podcast+json": ".json",
    "text/vtt": ".vtt",
    "application/x-subrip": ".srt",
    "application/srt": ".srt",
    "text/srt": ".srt",
}
_RANK = (".json", ".vtt", ".srt")
_KEPT = ("title", "pubDate", "guid")
_SEPARATOR = " "  # between namespace and name; neither holds one


@dataclass(frozen=True)
class TranscriptLink:
    """A transcript that an item offers."""

    url: str
    suffix: str | None  # of the format, None if it cannot be scored with
    language: str | None


@dataclass(frozen=True)
class Item:
    """An episode as its feed describes it; nothing of it has been checked."""

    title: str
    published: datetime | None  # UTC
    guid: str | None
    url: str
    kind: str  # MIME type
    length: int | None  # bytes, as the feed has it, which is often wrong
    transcripts: tuple[TranscriptLink, ...] = ()

    def best_transcript(self, language: str | None = None) -> TranscriptLink | None:
        """In the language, or in one that is not named, and then in the best format."""
        usable = [link for link in self.transcripts if link.suffix is not None]
        return min(
            usable, key=lambda link: (_is_foreign(link, language), _RANK.index(link.suffix)), default=None
        )


@dataclass(frozen=True)
class Feed:
    language: str | None
    items: list[Item]  # in the order of the feed
    without_sound: int  # items that have no enclosure


def read_feed(data: bytes, name: str, base: str = "") -> Feed:
    """The feed in `data`; `name` stands in messages, relative addresses are joined to `base`."""
    if len(data) > MOST_BYTES:
        raise InputError(f"{name}: {len(data) >> 20} MiB, too large for a feed (at most {MOST_BYTES >> 20})")
    reader = _Reader(name, base)
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InputError(
            f"{name}: not XML that can be read ({error}); wanted is a podcast's RSS feed"
        ) from None
    except (ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: in an encoding that cannot be read ({error}); save it as UTF-8") from None
    if not reader.is_rss:
        raise InputError(f"{name}: XML, but no RSS feed; wanted is the address of the feed, not of a page")
    return Feed(reader.language, reader.items, reader.without_sound)


@dataclass
class _Open:
    """An item that is being read."""

    texts: dict[str, str] = field(default_factory=dict)
    enclosure: dict[str, str] | None = None
    transcripts: list[TranscriptLink] = field(default_factory=list)


class _Reader:
    """Handlers of expat's events."""

    def __init__(self, name: str, base: str) -> None:
        self.name, self.base = name, base
        self.items: list[Item] = []
        self.without_sound = 0
        self.language: str | None = None
        self.is_rss = False
        self._path: list[str] = []
        self._item: _Open | None = None
        self._text: list[str] | None = None  # of the element that is open, if it is wanted

    def doctype(self, *_: object) -> NoReturn:
        raise InputError(
            f"{self.name}: refused, since it declares a document type (<!DOCTYPE ...>): no feed needs that, "
            "and entities that blow up memory or read files are declared there"
        )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > DEEPEST:
            raise InputError(f"{self.name}: elements lie more than {DEEPEST} deep; no feed is like that")
        self._text = None
        match self._path:
            case ["rss"]:
                self.is_rss = True
            case ["rss", "channel", "item"]:
                self._item = _Open()
            case ["rss", "channel", "item", "enclosure"] if self._item.enclosure is None:
                self._item.enclosure = attributes
            case ["rss", "channel", "item", tag] if _is_transcript(tag):
                self._item.transcripts.append(self._transcript(attributes))
            case ["rss", "channel", "item", tag] if tag in _KEPT:
                self._text = []
            case ["rss", "channel", "language"]:
                self._text = []

    def text(self, text: str) -> None:
        if self._text is not None and sum(map(len, self._text)) < LONGEST_TEXT:
            self._text.append(text[:LONGEST_TEXT])

    def end(self, name: str) -> None:
        self._path.pop()
        if name == "item" and self._path == ["rss", "channel"]:
            self._close()
        elif self._text is not None:
            text = tidy("".join(self._text)[:LONGEST_TEXT])
            if name == "language":
                self.language = text.lower() or None
            elif self._item is not None:
                self._item.texts.setdefault(name, text)
        self._text = None

    def _close(self) -> None:
        found, self._item = self._item, None
        url = (found.enclosure or {}).get("url", "").strip()
        if not url:
            self.without_sound += 1
            return
        self.items.append(
            Item(
                found.texts.get("title", ""),
                _moment(found.texts.get("pubDate", "")),
                found.texts.get("guid") or None,
                self._joined(url),
                found.enclosure.get("type", "").strip().lower(),
                _length(found.enclosure.get("length", "")),
                tuple(found.transcripts),
            )
        )

    def _transcript(self, attributes: dict[str, str]) -> TranscriptLink:
        kind = attributes.get("type", "").partition(";")[0].strip().lower()
        url = self._joined(attributes.get("url", "").strip())
        return TranscriptLink(url, FORMATS.get(kind), attributes.get("language", "").strip().lower() or None)

    def _joined(self, url: str) -> str:
        try:
            return urljoin(self.base, url)
        except ValueError:  # such as half an IPv6 address; it is refused where it is asked for
            return url


def _is_transcript(tag: str) -> bool:
    namespace, _, name = tag.rpartition(_SEPARATOR)
    return name == "transcript" and namespace.lower() in NAMESPACES


def _is_foreign(link: TranscriptLink, language: str | None) -> bool:
    return None not in (language, link.language) and link.language.split("-")[0] != language.split("-")[0]


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _length(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 and int(text) else None
