"""A service for packs: it answers over HTTP what `clinfit predict` writes, bit for bit.

    models.py     the tasks of the packs that are served, by name; loading, warm-up, self-test
    records.py    what a request holds as records of a task, and what is wrong with it, without its text
    batcher.py    the one line in front of a model: requests before jobs
    jobs.py       what a job is, and the contract of the stores; stores/: SQLite and Redis
    worker.py     takes chunks of jobs, answers them, writes the results
    app.py        the application; routes/: its addresses; guard.py: what every request passes
    client.py     the client; web/: the page

It needs the extra `serve`; clinfit without it lacks nothing else.
"""
