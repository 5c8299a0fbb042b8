"""Open-loop load on the API, and the judge of what came of it."""
