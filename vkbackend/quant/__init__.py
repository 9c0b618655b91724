"""The arithmetic of quantised networks, exact and in one place; the shaders follow it."""
