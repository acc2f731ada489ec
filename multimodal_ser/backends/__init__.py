"""Other ways to run the encoders than the plain network, and the proof that they may be used."""
