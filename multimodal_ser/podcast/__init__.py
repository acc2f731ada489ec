"""Podcasts: from a recording and its words to how it feels, minute by minute and speaker by speaker.

`jobs` says which episodes, `segments` cuts an episode into what is scored, `engine` finds out who says what
and lets `rating` score it, `timeline` is the result, `summaries` says it in a few numbers, `writers` writes
it, `scoring` does all that for many episodes and can be killed at any time.
"""

PRELOADED = f"{__name__}.preloaded"  # what processes that score have in common, see `workers`
