/*
 * Returns the headers of a consumed message as the broker sent them.
 *
 * rd_kafka_message_headers() cuts names at a NUL, allocates, and does not tell the message format. librdkafka keeps the
 * raw bytes. In format v2 they are a count and the headers, so at least one byte. In older formats there are none.
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
