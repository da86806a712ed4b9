"""One thin module a command: parse, one call into the library, print."""
