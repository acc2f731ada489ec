"""Feeds from a server on this machine that does whatever strangers' servers do."""

import contextlib
import csv
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from tiny_checkpoints import save_ser_model

from multimodal_ser.cli import main
from multimodal_ser.corpora.episode import make_episode
from multimodal_ser.errors import InputError
from multimodal_ser.offline import OfflineError
from multimodal_ser.podcast import downloads
from multimodal_ser.podcast.downloads import checked_address, download
from multimodal_ser.podcast.feeds import FOLDER, Wanted, gather, names_of, plain
from multimodal_ser.podcast.rss import read_feed

NAMESPACE = "https://podcastindex.org/namespace/1.0"
SOUND = bytes(range(256)) * 1200  # several blocks of any reader


def offline(url: str, headers: object = None) -> None:
    raise OfflineError("--offline: the name was looked up; nothing was sent")


@dataclass
class Site:
    """What the server has, what it was asked, and how it misbehaves."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    stops_after: dict[str, int] = field(default_factory=dict)
    without_length: set[str] = field(default_factory=set)
    slow: set[str] = field(default_factory=set)  # a byte at a time, until nobody listens
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    etag: str = '"one"'

    def asked_for(self, path: str) -> list[dict[str, str]]:
        return [headers for asked, headers in self.asked if asked == path]


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, path = self.site, self.path
        site.asked.append((path, {name.lower(): value for name, value in self.headers.items()}))
        if path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[path])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if path not in site.files:
            return self.send_error(404)
        data = site.files[path]
        if self.headers.get("If-None-Match") == site.etag:
            self.send_response(304)
            return self.end_headers()
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range") == site.etag:
            start = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        if path not in site.without_length:
            self.send_header("Content-Length", str(len(data) - start))
        self.send_header("ETag", site.etag)
        self.end_headers()
        if path in site.slow:
            return self.drip(data)
        self.wfile.write(data[start : site.stops_after.get(path, len(data))])
        self.close_connection = True
        return None

    def drip(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            for place in range(len(data)):
                self.wfile.write(data[place : place + 1])
                time.sleep(0.01)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Handler,), {"site": made}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()


def item(
    url: str, title: str = "Talk", day: int = 1, more: str = "", length: str = "0", guid: str = ""
) -> str:
    return (
        f"<item><title><![CDATA[{title}]]></title><pubDate>{day:02} Jan 2026 10:00:00 +0000</pubDate>"
        f'<enclosure url="{url}" type="audio/mpeg" length="{length}"/><guid>{guid or url}</guid>{more}</item>'
    )


def feed_of(*items: str, before: str = "") -> bytes:
    head = f'<?xml version="1.0"?>{before}<rss version="2.0" xmlns:podcast="{NAMESPACE}"><channel>'
    return (head + "<language>en-gb</language>" + "".join(items) + "</channel></rss>").encode()


def serve(site: Site, *items: str, before: str = "") -> str:
    site.files["/feed.xml"] = feed_of(*items, before=before)
    return site.address + "/feed.xml"


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "title",
    ["../../../../etc/cron.d/evil", "..\\..\\evil", "/etc/passwd", "a\x00b", "..", "‮gpj.exe", "ü" * 500],
)
@pytest.mark.parametrize(
    "path", ["/../../up.mp3", "/..%2f..%2fup.mp3", "/a.mp3?x=/../../b", "/.hidden", "/x.py"]
)
def test_nothing_that_a_feed_says_leaves_the_folder(
    title: str, path: str, site: Site, tmp_path: Path
) -> None:
    site.files[path] = SOUND
    title = title.replace("\x00", "")
    address = serve(site, item(site.address + path, title, guid="../../id"))
    inside = tmp_path / "here" / "out"
    (job,) = gather(address, inside).jobs
    assert job.media.read_bytes() == SOUND
    assert job.media.parent == inside / FOLDER
    assert re.fullmatch(r"2026-01-01(-\w+)*-[0-9a-f]{8}\.(mp3)", job.media.name)
    assert len(os.fsencode(job.media.name)) < 200
    assert {path.split("/")[0] for path in below(tmp_path)} == {"here"}
    assert all(path.startswith("here/out/episodes/") for path in below(tmp_path))


def test_a_server_that_stops_half_way_leaves_a_part_that_the_next_run_completes(
    site: Site, tmp_path: Path
) -> None:
    site.files |= {"/a.mp3": SOUND, "/b.mp3": SOUND[::-1]}
    site.stops_after["/a.mp3"] = 100_000
    address = serve(site, item(site.address + "/a.mp3", day=2), item(site.address + "/b.mp3"))
    found = gather(address, tmp_path)
    assert [job.media.read_bytes() for job in found.jobs] == [SOUND[::-1]]
    ((job, reason),) = found.failed
    assert re.search(
        r"stopped after 100,000 of 307,200 bytes; what came is kept, and the same command", reason
    )
    assert not job.media.exists()
    site.stops_after.clear()
    again = gather(address, tmp_path)
    assert not again.failed
    assert job.media.read_bytes() == SOUND
    assert not list(tmp_path.rglob("*.part*"))
    first, second = site.asked_for("/a.mp3")
    assert "range" not in first
    assert (second["range"], second["if-range"]) == ("bytes=100000-", '"one"')
    assert len(site.asked_for("/b.mp3")) == 1  # what is there is not asked for again


def test_a_part_of_another_version_is_not_continued(site: Site, tmp_path: Path) -> None:
    site.files["/a.mp3"] = SOUND
    site.stops_after["/a.mp3"] = 100_000
    with pytest.raises(InputError, match="stopped after"):
        download(site.address + "/a.mp3", tmp_path / "a.mp3")
    site.stops_after.clear()
    site.files["/a.mp3"], site.etag = SOUND[::-1], '"two"'
    download(site.address + "/a.mp3", tmp_path / "a.mp3")
    assert (tmp_path / "a.mp3").read_bytes() == SOUND[::-1]


@pytest.mark.parametrize(("said", "asked"), [(len(SOUND), 1), (5, 1), (None, 1), (len(SOUND) + 1, 2)])
@pytest.mark.parametrize("etag", ['"one"', 'W/"one"'])
def test_a_silent_server_that_ends_twice_at_the_same_byte_is_believed_more_than_the_feed(
    said: int | None, asked: int, etag: str, site: Site, tmp_path: Path
) -> None:
    site.files["/a.mp3"], site.etag = SOUND, etag
    site.without_length.add("/a.mp3")
    (job,) = gather(serve(site, item(site.address + "/a.mp3", length=str(said or "many"))), tmp_path).jobs
    assert job.media.read_bytes() == SOUND
    assert len(site.asked_for("/a.mp3")) == asked
    (row,) = table_of(tmp_path)
    assert (row["bytes"], row["bytes_in_feed"]) == (str(len(SOUND)), str(said or ""))


def test_the_feeds_length_counts_where_a_silent_server_stops_anywhere(site: Site, tmp_path: Path) -> None:
    site.files["/a.mp3"], site.etag = SOUND, 'W/"one"'
    site.without_length.add("/a.mp3")
    ends = iter([100_000, 90_000, len(SOUND)])
    address = serve(site, item(site.address + "/a.mp3", length=str(len(SOUND))))
    whole = Handler.do_GET

    def stopping(handler: Handler) -> None:
        if handler.path == "/a.mp3":
            site.stops_after["/a.mp3"] = next(ends)
        whole(handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "do_GET", stopping)
        ((_, reason),) = gather(address, tmp_path).failed
        assert "stopped after 90,000 of 307,200 bytes" in reason
        (job,) = gather(address, tmp_path).jobs
    assert job.media.read_bytes() == SOUND


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_server_that_drips_is_left_after_the_time_that_a_file_may_take(
    is_silent: bool, site: Site, tmp_path: Path
) -> None:
    site.files |= {"/a.mp3": SOUND, "/b.mp3": SOUND}
    site.slow.add("/a.mp3")
    if is_silent:
        site.without_length.add("/a.mp3")
    address = serve(site, item(site.address + "/a.mp3", day=2), item(site.address + "/b.mp3"))
    started = time.monotonic()
    found = gather(address, tmp_path, hours=0.1 / 3600)
    assert time.monotonic() - started < 5
    assert len(found.jobs) == 1
    ((_, reason),) = found.failed
    assert "--download-hours" in reason
    assert list((tmp_path / FOLDER).glob("*.part"))


def test_a_feed_that_drips_is_left_too(site: Site, tmp_path: Path) -> None:
    address = serve(site, item(site.address + "/a.mp3"))
    site.slow.add(address.removeprefix(site.address))
    with pytest.raises(InputError, match="--download-hours"):
        gather(address, tmp_path, hours=0.1 / 3600)


def table_of(output: Path) -> list[dict[str, str]]:
    with (output / FOLDER / "episodes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_wrong_length_in_the_feed_is_noted_where_the_server_knows_better(
    site: Site, tmp_path: Path
) -> None:
    site.files["/a.mp3"] = SOUND
    assert gather(serve(site, item(site.address + "/a.mp3", length="5")), tmp_path).jobs
    (row,) = table_of(tmp_path)
    assert (row["bytes"], row["bytes_in_feed"]) == (str(len(SOUND)), "5")


def test_a_weak_version_is_no_version_to_go_on_with(site: Site, tmp_path: Path) -> None:
    site.files["/a.mp3"], site.etag = SOUND, 'W/"one"'
    site.stops_after["/a.mp3"] = 100_000
    with pytest.raises(InputError, match="stopped after"):
        download(site.address + "/a.mp3", tmp_path / "a.mp3")
    site.stops_after.clear()
    download(site.address + "/a.mp3", tmp_path / "a.mp3")
    assert (tmp_path / "a.mp3").read_bytes() == SOUND
    assert "range" not in site.asked_for("/a.mp3")[1]


def test_offline_an_earlier_run_is_enough_and_what_it_lacks_is_a_row(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/a.mp3"] = SOUND
    address = serve(site, item("a.mp3", day=2), item("b.mp3"))
    assert len(gather(address, tmp_path).jobs) == 1
    monkeypatch.setattr(downloads, "ask", offline)
    found = gather(address, tmp_path)
    assert [job.media.read_bytes() for job in found.jobs] == [SOUND]
    assert [reason.split(":")[0] for _, reason in found.failed] == ["--offline"]


def test_what_a_server_says_cannot_write_on_the_terminal(site: Site, tmp_path: Path) -> None:
    site.redirects["/feed.xml"] = "\x1b[2J://x"
    with pytest.raises(InputError) as caught:
        gather(site.address + "/feed.xml", tmp_path)
    assert "\x1b" not in str(caught.value)


def test_more_bytes_than_are_taken_are_not_kept(site: Site, tmp_path: Path) -> None:
    site.files["/a.mp3"] = SOUND
    for is_silent in (False, True):
        if is_silent:
            site.without_length.add("/a.mp3")
        with pytest.raises(InputError, match="more than the 1,000"):
            download(site.address + "/a.mp3", tmp_path / "a.mp3", most=1_000)
        assert not (tmp_path / "a.mp3.part").exists()


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/plain,x", "gopher://x/"]
)
def test_a_redirect_to_another_scheme_is_refused(target: str, site: Site, tmp_path: Path) -> None:
    site.redirects |= {"/a.mp3": "/then.mp3", "/then.mp3": target}
    ((job, reason),) = gather(serve(site, item(site.address + "/a.mp3")), tmp_path).failed
    assert "only http:// and https:// addresses are followed" in reason
    assert not list((tmp_path / FOLDER).glob(job.name + "*"))


def test_redirects_are_followed_but_not_for_ever(site: Site, tmp_path: Path) -> None:
    site.files["/end.mp3"] = SOUND
    site.redirects |= {"/a.mp3": "/b.mp3", "/b.mp3": site.address + "/end.mp3", "/round": "/round"}
    assert download(site.address + "/a.mp3", tmp_path / "a.mp3") == len(SOUND)
    with pytest.raises(InputError, match="more than 10 redirects"):
        download(site.address + "/round", tmp_path / "b.mp3")


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "/etc/passwd", "//", "http://", "http://[::1", "http://u:p@h/"]
)
def test_an_item_that_points_elsewhere_than_to_the_web_is_a_row_of_errors(url: str, tmp_path: Path) -> None:
    (tmp_path / "feed.xml").write_bytes(feed_of(item(url)))
    found = gather(str(tmp_path / "feed.xml"), tmp_path / "out")
    assert not found.jobs
    assert re.search("no http:// or https:// address|not supported", found.failed[0][1])


BOMB = '<!DOCTYPE r [<!ENTITY a "lol">' + "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(10)
) + "]>"  # fmt: skip


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (feed_of(item("http://x/&k;"), before=BOMB), "declares a document type"),
        (
            feed_of(before='<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
            "declares a document type",
        ),
        (feed_of(before='<!DOCTYPE r SYSTEM "http://127.0.0.1:9/r.dtd">'), "declares a document type"),
        (feed_of("<a>" * 100 + "</a>" * 100), "more than 64 deep"),
        (feed_of("<item>"), "not XML that can be read"),
        (b"<html><body/></html>", "no RSS feed"),
        (b"", "not XML that can be read"),
        (b'<?xml version="1.0" encoding="klingon"?><rss/>', "cannot be read"),
    ],
)
def test_feeds_that_are_none_or_attack_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_feed(data, "feed")


def test_ten_thousand_items_are_read_and_named_apart() -> None:
    data = feed_of(*(item(f"http://x/{n}.mp3", "The same", n % 28 + 1) for n in range(10_000)))
    feed = read_feed(data, "feed")
    assert len(feed.items) == len(set(names_of(feed.items).values())) == 10_000
    chosen = Wanted(newest=5).of(feed.items)
    assert {found.published.date() for found in chosen} == {date(2026, 1, 28)}


def test_ranges_of_days_hold_both_ends_and_no_episode_without_a_date() -> None:
    undated = item("http://x/u.mp3").replace("Jan", "Foo")
    feed = read_feed(feed_of(undated, *(item(f"http://x/{n}.mp3", day=n) for n in range(1, 10))), "feed")
    chosen = Wanted(since=date(2026, 1, 3), until=date(2026, 1, 5)).of(feed.items)
    assert [found.published.day for found in chosen] == [5, 4, 3]
    assert len(Wanted().of(feed.items)) == 10
    assert Wanted().of(feed.items)[-1].published is None
    with pytest.raises(InputError, match="ends before it begins"):
        Wanted(since=date(2026, 1, 5), until=date(2026, 1, 3))


def test_an_episode_that_a_feed_has_twice_is_brought_once(site: Site, tmp_path: Path) -> None:
    site.files["/a.mp3"] = SOUND
    twice = (item(site.address + "/a.mp3"), item(site.address + "/a.mp3", length="7"))
    assert len(gather(serve(site, *twice), tmp_path).jobs) == 1


def transcript(url: str, kind: str, language: str = "") -> str:
    tongue = f' language="{language}"' if language else ""
    return f'<podcast:transcript url="{url}" type="{kind}"{tongue}/>'


@pytest.mark.parametrize(
    ("offered", "best"),
    [
        ([("a", "text/html"), ("b", "application/x-subrip"), ("c", "text/vtt")], "c"),
        ([("a", "text/vtt"), ("b", "application/json")], "b"),
        ([("a", "application/json", "de"), ("b", "text/vtt", "en-US")], "b"),
        ([("a", "application/json", "de")], "a"),
        ([("a", "text/html"), ("b", "text/plain")], None),
    ],
)
def test_the_best_transcript_has_times_and_the_language_of_the_feed(offered: list, best: str | None) -> None:
    more = "".join(transcript(f"http://x/{name}", *rest) for name, *rest in offered)
    feed = read_feed(feed_of(item("http://x/a.mp3", more=more)), "feed")
    found = feed.items[0].best_transcript(feed.language)
    assert (found and found.url) == (best and f"http://x/{best}")


def test_a_feed_that_has_not_changed_is_not_sent_again(site: Site, tmp_path: Path) -> None:
    site.files["/a.mp3"] = SOUND
    address = serve(site, item("a.mp3"))  # relative to the feed
    first, second = gather(address, tmp_path), gather(address, tmp_path)
    assert first.jobs == second.jobs
    before, after = site.asked_for("/feed.xml")
    assert "if-none-match" not in before
    assert after["if-none-match"] == '"one"'
    assert all(headers["user-agent"].startswith("multimodal-ser/") for _, headers in site.asked)
    site.etag = '"two"'
    site.files["/b.mp3"] = SOUND
    serve(site, item("a.mp3"), item("b.mp3", day=2))
    assert len(gather(address, tmp_path).jobs) == 2


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://Exämple.org/ä b.mp3?q=ü", "https://xn--exmple-cua.org/%C3%A4%20b.mp3?q=%C3%BC"),
        ("http://h/%20a?b=c/d?e#f", "http://h/%20a?b=c/d?e"),
    ],
)
def test_addresses_are_written_in_the_letters_of_http(url: str, safe: str) -> None:
    assert checked_address(url) == safe


def test_titles_become_names() -> None:
    assert plain("  #12: Who's afraid? / Größe ") == "12-who-s-afraid-größe"
    assert plain("../..") == ""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ser_model(tmp_path_factory.mktemp("model"))


def test_a_feed_is_scored_with_its_transcripts_and_what_fails_is_a_row(
    site: Site, model: Path, tmp_path: Path, capsys
) -> None:
    made = make_episode(tmp_path / "made" / "talk.wav", minutes=0.5, sample_rate=16_000, transcripts=("vtt",))
    site.files |= {"/talk.wav": made.audio.read_bytes(), "/talk": made.files["vtt"].read_bytes()}
    words = transcript(site.address + "/talk", "text/vtt")
    good = item(site.address + "/talk.wav", "=First <b>", 3, words)
    address = serve(site, good, item(site.address + "/gone.mp3", "Gone", 2), item(site.address + "/old.mp3"))
    output = tmp_path / "out"
    common = ["score", "--feed", address, "--model", str(model), "-o", str(output), "--speech", "energy"]
    assert main([*common, "--jobs", "1", "--newest", "2"]) == 3
    with (output / "errors.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert "the server answers 404" in row["reason"]
    assert row["episode"].startswith("2026-01-02-gone-")
    (scored,) = output.glob("*.emotion.json")
    assert scored.name.startswith("2026-01-03-first-b-")
    assert '"source": "vtt"' in scored.read_text()
    assert not site.asked_for("/old.mp3")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "either recordings"),
        (["talk.mp3", "--feed", "f.xml"], "either recordings"),
        (["talk.mp3", "--newest", "2"], "choose among the episodes of a --feed"),
        (["--feed", "f.xml", "--transcript", "a.srt"], "--feed brings many"),
        (["--feed", "nowhere.xml"], "no such feed"),
        (["--feed", "nowhere.xml", "--download-hours", "0"], "must be above 0"),
        (["--feed", "file:///etc/passwd"], "no http:// or https://"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], said: str, model: Path, tmp_path: Path, capsys
) -> None:
    assert main(["score", *options, "--model", str(model), "-o", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


OFFLINE = """
import sys
from pathlib import Path
from multimodal_ser.offline import forbid_connections
from multimodal_ser.podcast.feeds import load_feed
forbid_connections()
load_feed("https://example.invalid/feed.xml", Path(sys.argv[1]))
"""


def test_offline_asks_nobody(tmp_path: Path) -> None:
    command: list[str] = [sys.executable, "-c", OFFLINE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "InputError: https://example.invalid/feed.xml: --offline: the name" in done.stderr
