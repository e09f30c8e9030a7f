"""Keys of Google's service accounts, as a Secret holds them: which are taken, and where their tokens may go.

A key says itself who is asked for tokens, and a token is good for all that the account may do. So both go together:
Google's tokens come from Google and are shown to Google alone; those of another server are its own.
"""

import json
from urllib.parse import urlsplit

KEY, ENDPOINT = "GOOGLE_APPLICATION_CREDENTIALS_JSON", "GCS_ENDPOINT_URL"
STORAGE = "https://storage.googleapis.com"
TOKENS = ("https://oauth2.googleapis.com/token", "https://accounts.google.com/o/oauth2/token")
ANEW = "Write the JSON file there that was made with the key of the service account, as it is."

_FIELDS = ("client_email", "private_key", "token_uri")
_GOOGLE = ".googleapis.com"


def refusal(key: str, endpoint: str) -> tuple[str, str, str] | None:
    """Return reason, message and remedy for what is wrong with a key and an endpoint; None for nothing.

    The message says nothing of what the key holds. `{secret}` in it stands for the Secret.
    """
    try:
        found = json.loads(key)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return "CredentialsUnreadable", f"{KEY} in {{secret}} is not the JSON of a key.", ANEW
    if found.get("type") != "service_account":
        message = f"{KEY} in {{secret}} is not the key of a service account: its type is another."
        return "CredentialsUnreadable", message, ANEW
    if absent := [name for name in _FIELDS if not (isinstance(found.get(name), str) and found[name])]:
        return "CredentialsIncomplete", f"{KEY} in {{secret}} has no {absent[0]}.", ANEW
    if _belong_together(found["token_uri"], endpoint or STORAGE):
        return None
    message = f"token_uri of {KEY} in {{secret}} is not on the server that the token is for."
    remedy = f"For Google's storage it is {TOKENS[0]}; for another, that of {ENDPOINT} has to give the tokens too."
    return "EndpointInvalid", message, remedy


def account(key: str) -> dict[str, str]:
    """Return the fields of a key that was not refused. No other one counts: some would have tokens made elsewhere."""
    found = json.loads(key)
    return {name: found[name] for name in _FIELDS}


def _belong_together(token_uri: str, endpoint: str) -> bool:
    storage = urlsplit(endpoint)
    if storage.scheme == "https" and f".{storage.hostname}".endswith(_GOOGLE):
        return token_uri in TOKENS
    try:
        tokens = urlsplit(token_uri)
    except ValueError:
        return False
    return (tokens.scheme, tokens.netloc) == (storage.scheme, storage.netloc)
