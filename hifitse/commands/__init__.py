"""One file a command: parse, one call into the library, print. What they share begins with an underscore."""
