"""How an estimate sounds beside its target: the metrics that papers report, by the libraries they use, all offline."""
