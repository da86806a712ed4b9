"""What a person asks before and after a training: does the objective pay for silence, does it run, is resume exact."""
