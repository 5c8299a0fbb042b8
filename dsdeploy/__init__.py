"""dsdeploy: from bare GPU machines to a serving DeepSeek model, over SSH."""

__version__ = "0.1.0"
