"""What a benchmark compares with: worlds that are simulated instead of lived in.

Peers' decision rules live here, and later scenarios and `simulate`. Pure: no clock, file or chance of its own; a seeded
numpy Generator comes in as an argument. Nothing that decides about a real rollout may live here.
"""
