/// Defines [`RefusalKind`] from one list: variant, code, meaning.
macro_rules! refusal_kinds {
    ($($kind:ident $code:literal $meaning:literal)+) => {
        /// The rule of the chain that an entry or statement breaks (SPEC.md, "Refusals").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum RefusalKind {
            $(#[doc = $meaning] $kind,)+
        }

        impl RefusalKind {
            /// All kinds, in the order of SPEC.md.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The machine-readable code.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$kind => $code,)+
                }
            }

            /// What the code means, without the entry or stream that it is about.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$kind => $meaning,)+
                }
            }
        }
    };
}

refusal_kinds! {
    WrongSeq "wrong-seq" "the entry's seq is not the next one"
    WrongEntryPrev "wrong-entry-prev" "the entry does not name the entry before it"
    WrongKeys "wrong-keys" "the entry does not name the newest key entry"
    TimeBackwards "time-backwards" "the entry's time is before the previous entry's"
    WrongGenesis "wrong-genesis" "entry 0 is not the trusted genesis, or a later entry holds a genesis"
    WrongLedger "wrong-ledger" "the statement names another ledger"
    UnknownKey "unknown-key" "a signature is by a key that was never granted"
    RevokedKey "revoked-key" "a signature is by a revoked key"
    WrongRole "wrong-role" "a signature is by a key whose role does not sign this kind of statement"
    OutOfScope "out-of-scope" "a signature is by an ingest key that may not seal this topic"
    BadSignature "bad-signature" "a signature is absent, repeated or invalid"
    WrongCursor "wrong-cursor" "the range does not begin at the stream's cursor"
    WrongPrev "wrong-prev" "the statement does not name the stream's newest statement"
    WrongEpoch "wrong-epoch" "the epoch is neither the open one nor the next one"
    BadEpoch "bad-epoch" "the epoch begins after the old cursor, or not at 0 in a recreated topic"
    WrongTopicId "wrong-topic-id" "the topic id is not the stream's"
    BadGap "bad-gap" "the gap's reason does not fit its watermarks, its place or its signer"
    BadKey "bad-key" "the key statement contradicts the keys granted so far"
    WrongKeyPrev "wrong-key-prev" "the key statement does not name the newest key statement"
    BadHeads "bad-heads" "the heads are not those of the streams, or no stream moved since the last heads statement"
}
