"""One package a kind: what is observed, what is decided, how it is told. No I/O in here."""
