"""The health timer of engine hosts: settings for its role, and what it and the GPU report found."""
