"""Cost of blocks, heads and complete models: parameters, multiply-adds, memory and time."""
