//! What every service needs around its work: shutdown, health and metrics listener, backoff, configuration.
