"""The process of a Prefect server of ours: its application, the folder of the reports, and what its pages may ask.

It is started by its path, so it imports nothing of this project.
"""

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

REPORTS = "BSS_REPORTS"
"""The variable with the folder that the server shows under /reports."""
# Prefect's pages ask a third party how to count their visitors, also where the settings count nobody. Their scripts
# stand in the page in parts, compile others, and work in blobs; icons and fonts are data.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; frame-ancestors 'self'"
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def serve(listener: int) -> None:
    """Serve at a socket that listens, until standard input ends, which is with the parent, even a killed one."""
    import uvicorn

    threading.Thread(target=_end_with_parent, daemon=True).start()
    # What uvicorn would take from the environment is named.
    uvicorn.run(application, factory=True, fd=listener, log_level="error", workers=1, forwarded_allow_ips="127.0.0.1")


def application() -> Any:
    """Prefect's application, with the reports, and with `POLICY` on every answer."""
    from prefect.server.api.server import create_app
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    prefect = create_app()
    if (folder := os.environ.get(REPORTS)) is not None:
        # They may come later, and may be links into DVC's cache.
        pages = StaticFiles(directory=folder, check_dir=False, follow_symlink=True)
        prefect.router.routes.insert(0, Mount("/reports", pages))  # before the UI, which takes every address
    return with_policy(prefect)


def with_policy(application: Any) -> Any:
    """An ASGI application whose answers allow their pages to ask this server alone."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", POLICY.encode())
                message = {**message, "headers": [*message.get("headers", ()), policy]}
            await send(message)

        await application(scope, receive, say)

    return answer


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
