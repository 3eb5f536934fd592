"""Python functions in processes that have limits: an executor, its workers, what they may use."""
