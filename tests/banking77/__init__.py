"""`make check-banking77`: runs on real data, and what gates make of them."""
