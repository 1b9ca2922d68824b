"""What several chapters draw with: the house style, maps and tables."""
