"""`make soak`: random faults for a stated time, and a verdict on what has to hold nevertheless."""
