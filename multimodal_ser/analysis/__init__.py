"""Which layers of an encoder carry which dimension: measures, controls and what follows from them."""
