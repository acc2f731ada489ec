"""`score --feed`: a podcast's episodes and their transcripts, brought from where its feed says they are.

They lie in `episodes/` of the output folder, under names that are made here: of a feed's own words only
letters and digits go into them. What is there is not asked for again.
"""

import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from tqdm import tqdm

from multimodal_ser.cache import hash_bytes
from multimodal_ser.csv_files import write_table
from multimodal_ser.errors import InputError
from multimodal_ser.offline import OfflineError
from multimodal_ser.podcast.downloads import MOST_HOURS, cached, checked_address, download
from multimodal_ser.podcast.jobs import Job, reason_of, shard_of
from multimodal_ser.podcast.media import SUFFIXES
from multimodal_ser.podcast.rss import MOST_BYTES, Feed, Item, read_feed
from multimodal_ser.transcripts import reading

FOLDER = "episodes"  # in the output folder
TABLE = "episodes{}.csv"  # in that folder: where each came from
COLUMNS = ("episode", "title", "published", "url", "bytes", "bytes_in_feed", "transcript_url")
TITLE_BYTES = 80  # of a title in a name; file systems take 255 for all of it
UNKNOWN_SUFFIX = ".audio"
_SUFFIX_OF_KIND = {
    "audio/mpeg": ".mp3", "audio/mp3": ".mp3", "audio/x-m4a": ".m4a", "audio/mp4": ".m4a",
    "audio/m4a": ".m4a", "audio/aac": ".aac", "audio/ogg": ".ogg", "audio/opus": ".opus", "audio/wav": ".wav",
    "audio/x-wav": ".wav", "audio/flac": ".flac", "video/mp4": ".mp4",
    "video/webm": ".webm", "video/quicktime": ".mov",
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Which of a feed's episodes; the days are whole days in UTC and both belong to the range."""

    newest: int | None = None
    since: date | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        if self.newest is not None and self.newest < 1:
            raise InputError(f"--newest {self.newest}: must be at least 1")
        if self.since and self.until and self.until < self.since:
            raise InputError(f"--since {self.since} --until {self.until}: the range ends before it begins")

    def of(self, items: Sequence[Item]) -> list[Item]:
        """The newest first, those without a date last."""
        order = sorted(
            items, key=lambda item: item.published.timestamp() if item.published else 0, reverse=True
        )
        if self.since or self.until:
            first, last = self.since or date.min, self.until or date.max
            order = [item for item in order if item.published and first <= item.published.date() <= last]
        return order[: self.newest]


@dataclass(frozen=True)
class Gathered:
    """What there is to score, and what could not be brought, with the reason."""

    jobs: list[Job]
    failed: list[tuple[Job, str]]
    suffix: str  # of a shard, see `jobs.shard_of`


def gather(
    feed: str,
    output: Path,
    wanted: Wanted | None = None,
    *,
    shard: str | None = None,
    transcripts: bool = True,
    language: str | None = None,
    hours: float = MOST_HOURS,
) -> Gathered:
    """Bring the wanted episodes below `output`; one that fails does not stop the others.

    hours: that one file may take.
    """
    if not hours > 0:
        raise InputError(f"--download-hours {hours:g}: must be above 0")
    folder = output / FOLDER
    found = load_feed(feed, folder, hours)
    named = names_of(found.items)
    once = list({named[item]: item for item in found.items}.values())  # feeds name an episode twice at times
    items, suffix = shard_of((wanted or Wanted()).of(once), shard)
    if not items:
        raise InputError(
            f"{feed}: none of its {len(found.items)} episodes is wanted; change --newest, --since, --until"
        )
    jobs: list[Job] = []
    failed: list[tuple[Job, str]] = []
    rows = []
    for item in tqdm(items, desc="download", unit="episode", disable=None):
        link = item.best_transcript(language or found.language) if transcripts else None
        media = folder / (named[item] + suffix_of(item))
        words = None if link is None else folder / (named[item] + link.suffix)
        job = Job(media, named[item], words)
        try:
            size = download(item.url, media, item.length, hours=hours)
            if link is not None:
                download(link.url, words, most=reading.MOST_BYTES, hours=hours)
        except (InputError, OSError) as error:
            failed.append((job, reason_of(error)))
            continue
        jobs.append(job)
        published = item.published.isoformat() if item.published else None
        rows.append(
            [job.name, item.title, published, item.url, size, item.length, link.url if link else None]
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / TABLE.format(suffix), COLUMNS, rows)
    return Gathered(jobs, failed, suffix)


def load_feed(feed: str, folder: Path, hours: float = MOST_HOURS) -> Feed:
    """A feed from a file or an address; one from the web is kept in `folder`."""
    if "://" in feed:
        checked_address(feed)
        try:
            data, base = cached(feed, folder, MOST_BYTES, hours)
        except OfflineError as error:
            raise InputError(f"{feed}: {error}, and no earlier run in {folder} has left a copy") from None
    else:
        path, base = Path(feed), ""
        if not path.is_file():
            raise InputError(f"no such feed: {feed}; give a file or an address that begins with https://")
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{feed}: too large for a feed (at most {MOST_BYTES >> 20} MiB)")
        data = path.read_bytes()
    found = read_feed(data, feed, base)
    if not found.items:
        raise InputError(f"{feed}: no item of this feed has an enclosure, so there is nothing to listen to")
    if found.without_sound:
        print(f"{feed}: {found.without_sound} items without a recording are left out", file=sys.stderr)
    return found


def names_of(items: Sequence[Item]) -> dict[Item, str]:
    """A name for each: day, title, and a hash of what identifies it, so that it stays when the feed grows."""
    met = Counter(item.guid for item in items)
    names = {}
    for item in items:
        identity = item.url if item.guid is None or met[item.guid] > 1 else item.guid
        day = item.published.date().isoformat() if item.published else "undated"
        parts = [day, plain(item.title), hash_bytes(identity.encode("utf-8", "surrogatepass"))[:8]]
        names[item] = "-".join(filter(None, parts))
    return names


def plain(title: str) -> str:
    """A title as part of a file's name: letters and digits, with hyphens between."""
    folded = unicodedata.normalize("NFC", title).lower()
    signs = "".join(sign if sign.isalnum() else " " for sign in folded)
    cut = "-".join(signs.split()).encode()[:TITLE_BYTES].decode("utf-8", "ignore")
    return cut.strip("-")


def suffix_of(item: Item) -> str:
    """One of the suffixes of recordings, by the address or by what the feed calls it."""
    suffix = PurePosixPath(urlsplit(item.url).path if "[" not in item.url else "").suffix.lower()
    return suffix if suffix in SUFFIXES else _SUFFIX_OF_KIND.get(item.kind.partition(";")[0], UNKNOWN_SUFFIX)
