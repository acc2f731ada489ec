"""Ways of training: a module whose `forward(batch)` returns named losses, one of them `loss`."""
