"""What a run tells other tools: they get the rows of metrics.jsonl, and never hold the training up.

A thread for each tool (`follower`) follows metrics.jsonl and notes what was sent (`sent`), so that after a kill, a fork
or a rollback it knows what the tool has, what it has to forget, and what is missing.
"""
