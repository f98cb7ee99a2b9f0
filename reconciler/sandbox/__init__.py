"""The embedded Glider: an ASGI application over SQLite that behaves as the service is documented to.

A simulator for people, pipelines and tests; nothing in here ever talks to the real service. It knows nothing of the
reconciler's files, plans or client: they meet over HTTP, as they do in life.

    app  >  v1, v2, admin  >  gateway  >  answers, v2answers, glider, integrator, keys, limits, requests, faults, spoilt
    store  >  fleet, rows, plant  >  seed  >  settings, actions, enrolled  >  model  >  grid, runs

v1 portfolios (``model``, ``actions``, ``glider``) and enrolled v2 ones (``enrolled``, ``integrator``, ``fleet``) are
two kinds of things. ``serve`` runs the application on a port and is imported by nobody in here.
"""
