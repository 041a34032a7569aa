"""The command line: every command of `ghost-pipeline`, and how its answer looks in a terminal.

No rule of the domain and no reading of tables: a command calls the rooms below and prints what they return.
"""
