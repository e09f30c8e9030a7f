"""Certificate authorities of one's own: trusted beside those of the image, by every library that speaks TLS."""

import os
import ssl
from pathlib import Path

from stagecoach.contract import mounts
from stagecoach.contract.reports import BadInput, Problem
from stagecoach_trainer import places

# Python itself and the hub's, MLflow's, Cloud Storage's and web servers' clients; requests, as for its tokens; S3.
VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
SYSTEM = Path("/etc/ssl/certs/ca-certificates.crt")


def trust() -> None:
    """Have libraries that are imported later trust what is mounted, if anything is. Raises BadInput."""
    own = Path(places.rebased(mounts.AUTHORITIES)) / mounts.AUTHORITIES_FILE
    if not own.exists():
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(own)
    except ssl.SSLError as error:
        message = f"the bundle of certificate authorities in this pod cannot be used: {error}."
        remedy = (
            "Whoever installed the operator mends the ConfigMap of caBundle: certificates in PEM, one after another."
        )
        raise BadInput(Problem.of("AuthoritiesInvalid", message, remedy=remedy)) from error
    both = places.scratch() / "authorities.pem"
    # In one step, for of several processes of a pod one may be reading it.
    part = both.with_suffix(f".{os.getpid()}")
    part.write_bytes(SYSTEM.read_bytes() + b"\n" + own.read_bytes())
    part.replace(both)
    os.environ.update(dict.fromkeys(VARIABLES, str(both)))
