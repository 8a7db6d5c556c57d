"""The HTTP front: starts workers in the model's environment, queues calls for them, and answers in several protocols.

The front's event loop never runs the model and never decodes model data (``docs/explanation/worker-protocol.md``).

::

    server, once            what `lading serve` and `lading predict` run
    app                     ASGI: routes to the adapters
    cog_http, cortex_http, common_http       thin protocol adapters
    prediction              the one state machine behind them
    pool > worker > process > frames         workers, one of them, its process, its wire
"""
