"""One scoreboard: every map by every question of the audit, on several networks."""
