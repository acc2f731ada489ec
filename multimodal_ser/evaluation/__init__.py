"""How good a model is on a set, with everything a reader needs to compare it.

Each set gets CCC, Pearson and RMSE of every reading (fused, audio only, text only) with 95 % intervals over
speakers, the spread of predictions against that of labels, paired differences between readings and between
transcripts, subgroups, classes, the measured coverage of conformal intervals, and the protocol. `sets`
computes and writes files; `figures` and `page` only read these files.
"""

from multimodal_ser.evaluation.screen import screen, table
from multimodal_ser.evaluation.sets import evaluate, measure, splits_to_test

__all__ = ["evaluate", "measure", "screen", "splits_to_test", "table"]
