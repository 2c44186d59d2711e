//! windlass-gateway.
