"""What a model can read of a file: a picture or text, extracted by a process of its own.

`run.extract` is the function to call. The child imports this package, too: nothing is imported here.
"""
