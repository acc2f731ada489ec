"""How fast the stages of scoring run here, beside what the machine could do at most."""
