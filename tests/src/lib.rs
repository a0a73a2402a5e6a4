//! Tests of the whole line against real Kafka, PostgreSQL and Git.
