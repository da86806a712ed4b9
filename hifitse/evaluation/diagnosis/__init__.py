"""Why a run goes wrong: causes named from evidence, each with its remedy in configuration keys.

A rule is a function of the evidence that returns a finding, or None; all of them are in `causes.RULES`.
"""
