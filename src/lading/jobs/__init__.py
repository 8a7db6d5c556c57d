"""Jobs that outlive the server: batches, asynchronous requests and tasks in a durable store, and the engine that works them off.

`store` is the protocol that every store follows, `sqlite` the one for a single machine; `engine` runs jobs on crews, which another engine
(a cluster's) may bring; `submission` reads what clients send, in Cortex's words.
"""
