"""The command line `gatehouse`: the table of commands, their options, and a function each."""
