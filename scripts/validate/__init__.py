"""The second opinion on bins, bars and dead letters: recomputed in SQL, nothing shared with the pipeline.

`sql/` holds the rules; the Python modules read files, follow the one rule that needs a memory of single
ticks (`jumps`) and report.
"""
