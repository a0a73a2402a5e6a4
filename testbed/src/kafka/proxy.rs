//! Kafka's protocol, for a proxy that loses requests of producers or their answers.

use std::collections::HashMap;
use std::io::{self, Read, Write};

use crate::proxy::{Fate, Protocol, Proxy, Side, complete, length};

/// A proxy in front of a Kafka broker on this machine.
pub type KafkaProxy = Proxy<Connection>;

/// The API key of Produce requests.
const PRODUCE: [u8; 2] = [0, 0];

/// Positions of the API key and of the length of the client's name in a request, counted from its size field.
const API_KEY: usize = 4;
const CLIENT_ID: usize = 12;

/// Positions of the correlation id in a request and in an answer.
const CORRELATION_IN_REQUEST: usize = 8;
const CORRELATION_IN_ANSWER: usize = 4;

/// Selects the Produce request, or the answer, to lose.
#[derive(Debug, Clone)]
pub struct LostProduce {
    /// The `client.id` of the producer.
    pub client: String,
    /// The side whose message is lost: the request or the answer.
    pub from: Side,
    /// How it is lost: cut or held back.
    pub fate: Fate,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Connection {
    /// The clients with unanswered Produce requests, by correlation id.
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
    /// The client's name, if the message is a Produce request.
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

    /// The client's name, if the message answers a Produce request.
    fn note_answer(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.asked.remove(&correlation(message, CORRELATION_IN_ANSWER))
    }
}

fn correlation(message: &[u8], at: usize) -> [u8; 4] {
    message[at..][..4].try_into().expect("four bytes")
}
