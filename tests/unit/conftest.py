from hypothesis import settings

settings.register_profile("climits", deadline=None, database=None, max_examples=100)
settings.load_profile("climits")
