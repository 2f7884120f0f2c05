"""Where A2A is answered."""

RPC_PATH = "/api/a2a"
REST_PATH = "/api/a2a/rest"
