/*
 * Hands out the headers of a consumed message as they came from the broker.
 *
 * rd_kafka_message_headers() cuts names at a NUL, allocates, and says nothing of the message format. librdkafka keeps the
 * bytes themselves: a count and the headers in format v2, where even "no headers" is one byte, and nothing at all in the
 * formats before v2.
 */
#include "rdkafka_int.h"
#include "rdkafka_msg.h"

/* The bytes of the headers and their length; NULL for a record in a format before v2. */
const void *streamseal_raw_headers(const rd_kafka_message_t *message,
                                   size_t *len) {
        const rd_kafka_msg_t *msg =
            rd_kafka_message2msg((rd_kafka_message_t *)message);
        const rd_kafkap_bytes_t *raw = &msg->rkm_u.consumer.binhdrs;

        *len = RD_KAFKAP_BYTES_LEN(raw);
        return *len > 0 ? raw->data : NULL;
}
