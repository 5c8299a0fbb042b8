"""The lab: real machines on the operator's own computer, and a model small enough for them."""
