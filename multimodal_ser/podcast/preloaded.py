"""What every process that scores imports; done once, by the server that `workers` forks them from.

Nothing else may import this module: it is meant for a process that does nothing but fork.
"""

from multimodal_ser.workers import importing

with importing():
    from multimodal_ser.podcast import spreading  # noqa: F401
    from multimodal_ser.transcripts import silero  # noqa: F401
