"""`rheostat doctor`: looks at a machine without changing it, and says what is wrong, why it matters and what to do.

`facts` looks, `checks` are pure functions of what was seen, `examination` runs them all, `text` renders the findings.
"""
