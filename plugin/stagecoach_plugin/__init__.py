"""kubectl stagecoach: what people ask of Stagecoach, and how they approve what it has judged."""
