"""The sandbox: a local server with OpenAI's HTTP API, for when there is no key.

Transcription is real offline English recognition (a rough draft), embeddings are lexical vectors, chat answers are
extracts of what they are given, images are drawn from a hash of the prompt. It knows nothing of the product: the
product speaks to it through the `openai` SDK, as to any other server. `python -m app.sandbox`.
"""

from app.sandbox.server import create_sandbox

__all__ = ["create_sandbox"]
