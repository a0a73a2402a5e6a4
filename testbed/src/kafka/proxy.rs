//! Kafka's protocol, for a proxy that loses what producers ask, or the answer.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use crate::proxy::{Fate, Protocol, Proxy, Side, complete, length};

/// A proxy in front of a Kafka broker on this machine.
pub type KafkaProxy = Proxy<Connection>;

/// The number of the request by which records are written.
const PRODUCE: [u8; 2] = [0, 0];

/// Where in a request its number is, and the length of the client's name, with the size before it.
const API_KEY: usize = 4;
const CLIENT_ID: usize = 12;

/// Where in a request and in an answer the number is by which they belong together.
const CORRELATION_IN_REQUEST: usize = 8;
const CORRELATION_IN_ANSWER: usize = 4;

/// Which request to write records, or which answer, is lost.
#[derive(Debug, Clone)]
pub struct LostProduce {
    /// The `client.id` of the producer.
    pub client: String,
    /// Whether the request is lost or the answer.
    pub from: Side,
    /// What becomes of it: cut off or held back.
    pub fate: Fate,
}

/// What is known of one connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// The clients whose requests to write records are not answered, by correlation id.
    asked: HashMap<[u8; 4], Vec<u8>>,
}

impl Protocol for Connection {
    type Cut = LostProduce;

    fn open(_: Side, _: &mut impl Read, _: &mut impl Write) -> io::Result<()> {
        Ok(())
    }

    fn read(reader: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut message = vec![0; 4];
        reader.read_exact(&mut message)?;
        let length = 4 + length(&message);
        complete(reader, message, length)
    }

    fn note(&mut self, from: Side, message: &[u8], armed: &mut Option<LostProduce>) -> Fate {
        let client = match from {
            Side::Client => self.note_request(message),
            Side::Server => self.note_answer(message),
        };
        let Some(client) = client else { return Fate::Passed };
        armed
            .take_if(|lost| lost.from == from && lost.client.as_bytes() == client)
            .map_or(Fate::Passed, |lost| lost.fate)
    }
}

impl Connection {
    /// The name of the client that asks to write records, if it does.
    fn note_request(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if message[API_KEY..][..2] != PRODUCE {
            return None;
        }
        let (length, rest) = message[CLIENT_ID..].split_at(2);
        let length = i16::from_be_bytes([length[0], length[1]]);
        let client = rest[..usize::try_from(length).unwrap_or(0)].to_vec();
        self.asked.insert(correlation(message, CORRELATION_IN_REQUEST), client.clone());
        Some(client)
    }

    /// The name of the client that asked for it, if it was to write records.
    fn note_answer(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.asked.remove(&correlation(message, CORRELATION_IN_ANSWER))
    }
}

fn correlation(message: &[u8], at: usize) -> [u8; 4] {
    message[at..][..4].try_into().expect("four bytes")
}
