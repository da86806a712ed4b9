"""From YAML and overrides to a checked tree, and from what pydantic objects to lines for people."""
