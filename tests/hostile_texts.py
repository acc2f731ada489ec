"""What a transcript, a speaker's name or a feed may hold, and a page has to show as text."""

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(2)</script>",
    "<!--",
    "=HYPERLINK(1)",
    "‮right to left",
    "{{ 7 * 7 }}",
    "w" * 100_000,
    "line\u2028separator & ampersand",
)
