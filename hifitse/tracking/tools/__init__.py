"""One module for each tool: its own calls, and nothing that others need, too."""
