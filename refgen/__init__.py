"""A reference of generative models: gradients by hand, equations as executable claims."""

__version__ = "0.1.0"
