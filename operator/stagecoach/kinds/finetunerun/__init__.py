"""FineTuneRun: one training of one artifact."""
