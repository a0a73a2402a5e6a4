/*
 * Tells whether a consumed message has no headers, from what librdkafka keeps of it.
 *
 * rd_kafka_message_headers() allocates a reader and frees it again to find a header count of zero, which is what most
 * messages have. This looks at the count as it came: nothing at all in old message formats, else a variable-length
 * integer whose zero is the byte 0.
 */
#include "rdkafka_int.h"
#include "rdkafka_msg.h"

int streamseal_has_no_headers(const rd_kafka_message_t *message) {
        const rd_kafka_msg_t *msg =
            rd_kafka_message2msg((rd_kafka_message_t *)message);
        const rd_kafkap_bytes_t *raw = &msg->rkm_u.consumer.binhdrs;
        int32_t len                  = RD_KAFKAP_BYTES_LEN(raw);

        return !msg->rkm_headers &&
               (len == 0 || (len == 1 && *(const char *)raw->data == 0));
}
