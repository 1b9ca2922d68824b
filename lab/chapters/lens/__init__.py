"""Agreement up to small shifts, and robust training [kamath2024]."""
