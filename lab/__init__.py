"""The laboratory: experiments, records, verdicts and the book that they make."""
