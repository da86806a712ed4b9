"""The networks. All share one interface: ``model(mixture, reference) -> estimate``, waveforms (B, L), (B, L'), (B, L).

A reference of digital silence (every sample zero) means that there is none.
"""
