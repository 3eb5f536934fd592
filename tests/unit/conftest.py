"""Profiles of hypothesis: what holds a change is repeatable, and what looks for more is asked for.

Whether a change passes must not hang on luck; `--hypothesis-profile explore` tries other and many
more examples, and what it finds becomes an @example.
"""

from hypothesis import settings

settings.register_profile(
    "climits", deadline=None, database=None, max_examples=100, derandomize=True
)
settings.register_profile("explore", deadline=None, database=None, max_examples=5000)
settings.load_profile("climits")
