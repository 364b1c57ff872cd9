"""`make mutants`: change the code in one place at a time, in a copy, and see which tests notice.

A change that nobody notices is a rule without a test, or code without an effect. A tool for people, no part of `make
test`. It is our own because of what we need together: statements left out, constants outside of functions, Lua, a
sample that can be repeated, and a file and a line for each survivor. mutmut 3.8 changes neither module constants nor
decorated functions, deletes no statement and reads no Lua; cosmic-ray 8.7 stands on a parser that does not know
`match`, and most of its changes here were of the `|` in annotations.
"""
