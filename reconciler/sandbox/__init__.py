"""The embedded Glider: an ASGI application over SQLite that behaves as the service is documented to.

A simulator for people, pipelines and tests; nothing in here ever talks to the real service. It knows nothing of the
reconciler's files, plans or client: they meet over HTTP, as they do in life.

    app  >  v1, admin  >  gateway  >  answers, glider, limits, requests, faults
    store  >  rows, seed  >  actions  >  model  >  grid

``serve`` runs the application on a port and is imported by nobody in here.
"""
