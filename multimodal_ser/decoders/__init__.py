"""Decoders that share one contract: mono blocks at a file's own sampling rate, from any frame on."""
