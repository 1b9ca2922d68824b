"""The audit of a network, and maps and networks that are planted to see whether it finds them out."""
