"""AnomalyGate: stops a run whose data break the reviewed schema."""
