"""The pages: what was learned and saved, rendered on the server.

A page is made in three steps, each in its own place: ``pages`` asks the service and names the template, ``views`` turns
answers of the service into what a template shows (pure functions), ``templates`` lays it out. Figures come from
:mod:`rheostat.visualization` and are drawn by ``plotly.min.js`` of the installed package; without JavaScript all else
is there.
"""
