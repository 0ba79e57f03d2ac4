"""What blocks, heads and whole configs cost: parameters, multiply-adds, memory and time, fused beside plain."""
