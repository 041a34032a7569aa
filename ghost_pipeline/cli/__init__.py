"""The command line: every command of `ghost-pipeline`, and how its answer looks in a terminal.

No domain rules and no reading of tables: a command calls the packages below and prints what they return.
"""
