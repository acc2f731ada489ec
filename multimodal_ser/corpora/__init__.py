"""One reader per corpus: folder in, checked manifest out.

To add a corpus, write one module here (see `reading.py` for what it offers) and name it in `READERS`.
"""

# Name on the command line: module of this folder.
READERS = {
    "msp-podcast": "msp_podcast",
    "msp-improv": "msp_improv",
    "iemocap": "iemocap",
    "meld": "meld",
    "crema-d": "crema_d",
    "ravdess": "ravdess",
    "emodb": "emodb",
    "emobank": "emobank",
    "table": "table",
    "folder": "folder",
    "synthetic": "synthetic",
}
