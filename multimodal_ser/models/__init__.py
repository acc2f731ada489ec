"""Encoders, fusion and the network that joins them; one network per module."""
