"""AnomalyGate: stops a run whose data violate the reviewed schema."""
