"""A machine with a GPU for an hour: what it does with the time, and what is sent to one without internet."""
