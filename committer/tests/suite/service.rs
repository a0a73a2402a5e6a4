//! A healthy committer over HTTP.

use committer_client::{CoveringQuery, Error, StreamEntriesQuery, caps};
use evidence::chain::State;
use evidence::statement::{HeadsLine, Role, heads_root};
use evidence::tile::{Tile, Tiles, decode_entries};
use evidence::tree::leaf_hash;
use evidence::{Algorithm, Entry, SignedCheckpoint, SignedStatement, Statement, StreamId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Database;
use super::running::{Options, Place, Running};
use testbed::statements::{ORIGIN, TestLedger, key, stream, text};

/// Reads the log from its checkpoint, tiles and bundles, and checks every hash. Returns the entries.
pub(crate) async fn read_log(running: &Running, ledger: &TestLedger) -> Vec<Entry> {
    let note = running.client.checkpoint().await.expect("answered").expect("signed");
    let signed = SignedCheckpoint::parse(&note).expect("a checkpoint");
    signed.verify(ledger.log.verifier_key()).expect("signed by the log key");
    let (size, root) = (signed.checkpoint().size, signed.checkpoint().root);
    let mut tiles = Vec::new();
    for level in 0..8 {
        for index in 0.. {
            let Some(tile) = Tile::in_tree(level, index, size) else { break };
            let bytes = running.client.tile(&tile.to_string()).await.expect("answered").expect("there");
            tiles.push((tile, bytes));
        }
    }
    let tiles = Tiles::authenticate(size, &root, tiles).expect("the tiles lead to the root");
    let leaves = tiles.compact_range(size).expect("complete");
    assert_eq!(leaves.root(), root);
    let mut entries = Vec::new();
    for index in 0.. {
        let Some(tile) = Tile::in_tree(0, index, size) else { break };
        let path = tile.entries_path().expect("a level 0 tile");
        let bundle = running.client.tile(&path).await.expect("answered").expect("there");
        for bytes in decode_entries(&bundle, tile.width()).expect("a bundle") {
            let node = evidence::tree::Node::leaf(entries.len() as u64);
            assert_eq!(tiles.hash(node).expect("there"), leaf_hash(bytes));
            entries.push(Entry::parse(bytes).expect("an entry"));
        }
    }
    let mut state = State::new(ORIGIN, ledger.genesis.hash());
    for entry in &entries {
        state.apply(entry).expect("a valid chain");
    }
    entries
}

pub(crate) async fn begins_the_chain_and_serves_a_log_that_verifies(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    assert_eq!(running.client.status().await.expect("answered").size, 2);
    running.append(&place.ledger.summaries(&stream("t", 0), 0, 10, 700, None)).await;
    let status = running.signed().await;
    assert_eq!((status.origin.as_str(), status.size), (ORIGIN, 702));
    assert_eq!(status.genesis, place.ledger.genesis.hash().to_string());
    let entries = read_log(&running, &place.ledger).await;
    assert_eq!(entries.len(), 702);

    let keys = running.client.keys().await.expect("answered");
    let first: Vec<String> = entries[..2].iter().map(|e| String::from_utf8(e.to_bytes()).expect("text")).collect();
    assert_eq!(keys.entries, first);
    assert_eq!(running.client.entry(1).await.expect("answered").as_ref(), Some(&first[1]));
    for path in ["tile/0/000.p/1", "tile/0/002.p/190", "tile/1/000.p/1", "tile/entries/002.p/1"] {
        assert_eq!(running.get(path).await.0, 200, "{path} is part of the tree");
    }
    for path in ["tile/0/002", "tile/0/002.p/191", "tile/1/000.p/3", "tile/2/000.p/1", "tile/entries/003.p/1"] {
        assert_eq!(running.get(path).await.0, 404, "{path} is beyond the checkpoint");
    }
    let response = reqwest::get(format!("{}checkpoint", running.client.base())).await.expect("answered");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let response = reqwest::get(format!("{}tile/0/000", running.client.base())).await.expect("answered");
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    running.until_ready().await;
    running.stop().await;
}

pub(crate) async fn appends_and_answers_again_with_the_same_entry(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    let t = stream("t", 3);
    assert_eq!(running.cursor(&t.partition).await, committer_client::Cursor::default());
    let statements = place.ledger.summaries(&t, 0, 10, 2, None);
    let first = running.submit(&statements[..1]).await;
    assert_eq!(first.refused, None);
    let entry = Entry::parse(first.accepted[0].entry.as_bytes()).expect("an entry");
    assert_eq!((entry.seq, &entry.statement), (2, &statements[0]));

    // Again, alone, with its successor, and twice in one request.
    for request in [vec![0], vec![0, 1], vec![0, 0, 1, 1]] {
        let request: Vec<_> = request.iter().map(|&i: &usize| statements[i].clone()).collect();
        let again = running.submit(&request).await;
        assert_eq!(again.refused, None);
        assert_eq!(again.accepted.len(), request.len());
        assert_eq!(again.accepted[0], first.accepted[0]);
    }
    assert_eq!(running.client.status().await.expect("answered").size, 4);
    // A statement's identity is its text: the first signatures stay.
    let other = key("ingest-a", Algorithm::Ed25519, "not the granted one");
    let resigned = place.ledger.sign_summary(place.ledger.summary_of(&t, 0, 10, None), &other);
    assert_eq!(running.submit(&[resigned]).await.accepted, first.accepted);

    let cursor = running.cursor(&t.partition).await;
    assert_eq!((cursor.epoch, cursor.start, cursor.next, cursor.seq), (0, 0, 20, Some(3)));
    assert_eq!(cursor.statement, Some(text(&statements[1])));
    assert_eq!(cursor.last_summary, cursor.statement);
    running.stop().await;
}

pub(crate) async fn accepts_the_prefix_before_a_refusal(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    let t = stream("t", 0);
    let good = place.ledger.summaries(&t, 0, 10, 4, None);
    // 0 and 1 fit; 3 skips 2.
    let answer = running.submit(&[good[0].clone(), good[1].clone(), good[3].clone(), good[2].clone()]).await;
    assert_eq!(answer.accepted.iter().map(|a| a.seq).collect::<Vec<_>>(), [2, 3]);
    let refused = answer.refused.expect("refused");
    assert_eq!((refused.index, refused.code.as_str()), (2, "wrong-cursor"));
    let cursor = answer.cursor.expect("of the stream");
    assert_eq!((cursor.next, cursor.statement), (20, Some(text(&good[1]))));

    let mut texts: Vec<String> = good.iter().map(text).collect();
    texts[3] = "not a note".to_owned();
    let answer = running.client.submit(texts).await.expect("answered");
    assert_eq!(answer.accepted.iter().map(|a| a.seq).collect::<Vec<_>>(), [2, 3, 4]);
    let refused = answer.refused.expect("refused");
    assert_eq!((refused.index, refused.code.as_str()), (3, "malformed"));
    assert_eq!(answer.cursor.expect("of the last statement that is one").next, 30);
    running.stop().await;
}

pub(crate) async fn refuses_each_wrong_statement_with_its_code(database: Database) {
    let place = Place::new();
    let ledger = &place.ledger;
    let running = place.start(&database).await;
    let t = stream("t", 0);
    let first = ledger.summary(&t, 0, 10, None);
    running.append(std::slice::from_ref(&first)).await;
    let next = |change: fn(&mut evidence::statement::Summary)| {
        let mut summary = ledger.summary_of(&t, 10, 20, Some(first.hash()));
        change(&mut summary);
        ledger.sign_summary(summary, &ledger.ingest)
    };

    // From another ledger with the same origin and key names.
    let other = TestLedger::new("another");
    assert_eq!(running.refused(&other.summary(&t, 10, 20, Some(first.hash()))).await, "wrong-ledger");
    assert_eq!(running.refused(&other.genesis).await, "wrong-genesis");
    // Cursor, prev, epoch, topic id.
    assert_eq!(running.refused(&ledger.summary(&t, 11, 20, Some(first.hash()))).await, "wrong-cursor");
    assert_eq!(running.refused(&ledger.summary(&t, 0, 9, None)).await, "wrong-cursor");
    assert_eq!(running.refused(&ledger.summary(&t, 10, 20, None)).await, "wrong-prev");
    assert_eq!(running.refused(&next(|s| s.stream.epoch = 1)).await, "wrong-epoch");
    assert_eq!(running.refused(&next(|s| s.topic_id = Some("x".to_owned()))).await, "wrong-topic-id");
    // Keys.
    let stranger = key("ingest-z", Algorithm::Ed25519, "stranger");
    let impostor = key("ingest-a", Algorithm::Ed25519, "impostor");
    let summary = ledger.summary_of(&t, 10, 20, Some(first.hash()));
    assert_eq!(running.refused(&ledger.sign_summary(summary.clone(), &stranger)).await, "unknown-key");
    assert_eq!(running.refused(&ledger.sign_summary(summary.clone(), &impostor)).await, "unknown-key");
    assert_eq!(running.refused(&ledger.sign_summary(summary.clone(), &ledger.operator)).await, "wrong-role");
    assert_eq!(running.refused(&ledger.summary(&stream("x", 0), 0, 10, None)).await, "out-of-scope");
    // A signature over another text.
    let signed = text(&ledger.sign_summary(summary.clone(), &ledger.ingest)).replace("events 10", "events 9");
    let answer = running.client.submit(vec![signed]).await.expect("answered");
    assert_eq!(answer.refused.expect("refused").code, "bad-signature");
    // A gap over readable offsets.
    let mut gap = match ledger.gap(&t, 10, 20, Some(first.hash())).statement() {
        Statement::Gap(gap) => gap.clone(),
        other => panic!("{other:?}"),
    };
    gap.low = 15;
    let gap = SignedStatement::sign(Statement::Gap(gap), &[&ledger.ingest]);
    assert_eq!(running.refused(&gap).await, "bad-gap");
    // After the revocation its statements are refused; earlier ones stay.
    let second = key("ingest-b", Algorithm::Ed25519, "second");
    let grant = ledger.grant(ledger.grants[0].hash(), Role::Ingest, &second);
    let repeated = ledger.grant(ledger.grants[0].hash(), Role::Ingest, &stranger);
    let revoke = ledger.revoke(grant.hash(), Role::Ingest, &second);
    running.append(&[grant]).await;
    assert_eq!(running.refused(&repeated).await, "wrong-key-prev");
    let by_second = ledger.sign_summary(summary, &second);
    running.append(&[by_second.clone(), revoke.clone()]).await;
    let after = ledger.sign_summary(ledger.summary_of(&t, 20, 30, Some(by_second.hash())), &second);
    assert_eq!(running.refused(&after).await, "revoked-key");
    let twice = ledger.revoke(revoke.hash(), Role::Ingest, &second);
    assert_eq!(running.refused(&twice).await, "bad-key");
    // Wrong heads.
    let heads =
        evidence::statement::Heads { ledger: ledger.id(), streams: 1, root: evidence::sha256(b"not where they stand") };
    assert_eq!(running.refused(&SignedStatement::sign(Statement::Heads(heads), &[&ledger.log])).await, "bad-heads");
    // None of it left a trace.
    assert_eq!(running.client.status().await.expect("answered").size, 6);
    running.signed().await;
    read_log(&running, ledger).await;
    running.stop().await;
}

pub(crate) async fn refuses_malformed_statements_with_a_code(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    let good = text(&place.ledger.summary(&stream("t", 0), 0, 10, None));
    // With one byte less it is parsed.
    let large = format!("{good}{}", "x".repeat(caps::STATEMENT_BYTES + 1 - good.len()));
    for (statement, code) in [
        ("", "malformed"),
        ("streamseal/summary@v1\n", "malformed"),
        (&good.replace("summary@v1", "summary@v2"), "unsupported"),
        (&good.replace("streamseal/summary", "streamseal/digest"), "unsupported"),
        (&good.replace("plain@v1", "blind@v1"), "unsupported"),
        (&good.replace("partition 0", "partition 00"), "malformed"),
        (&good.replace("range 0 10", "range 10 10"), "malformed"),
        (&format!("{good}\n"), "malformed"),
        (&large, "too-large"),
        (&large[1..], "malformed"),
    ] {
        let answer = running.client.submit(vec![statement.to_owned()]).await.expect("answered");
        assert_eq!(answer.refused.expect("refused").code, code, "{statement:.60?}");
        assert_eq!(answer.cursor, None);
    }
    running.stop().await;
}

/// Sends the rest of a request's head and its whole body before it reads the begin of the answer.
async fn post_raw(running: &Running, rest: &str) -> String {
    let host = running.client.base().trim_start_matches("http://").trim_end_matches('/');
    let mut connection = TcpStream::connect(host).await.expect("listens");
    let request = format!("POST /v1/statements HTTP/1.1\r\nhost: {host}\r\n{rest}");
    connection.write_all(request.as_bytes()).await.expect("it is taken to the end");
    let mut status = [0; 12];
    connection.read_exact(&mut status).await.expect("answered");
    String::from_utf8(status.to_vec()).expect("text")
}

pub(crate) async fn refuses_invalid_requests(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    let good = text(&place.ledger.summary(&stream("t", 0), 0, 10, None));
    let too_many = running.client.submit(vec![good; caps::STATEMENTS + 1]).await.expect_err("too many");
    assert!(matches!(&too_many, Error::Refused { code, .. } if code == "too-large"), "{too_many}");
    let none = running.client.submit(Vec::new()).await.expect_err("none");
    assert!(matches!(&none, Error::Refused { code, .. } if code == "bad-request"), "{none}");

    let http = reqwest::Client::new();
    let url = format!("{}v1/statements", running.client.base());
    let post = async |body: Vec<u8>| http.post(&url).body(body).send().await.expect("answered").status().as_u16();
    assert_eq!(post(b"{\"statements\":[\"x\"".to_vec()).await, 400);
    assert_eq!(post(b"{\"statements\":[],\"more\":1}".to_vec()).await, 400);
    assert_eq!(post(vec![b' '; caps::SUBMIT_BODY_BYTES]).await, 400);
    assert_eq!(post(vec![b' '; caps::SUBMIT_BODY_BYTES + 1]).await, 413);
    // More than the sockets' buffers hold: the client is still sending when the answer is ready.
    let len = 2 * caps::SUBMIT_BODY_BYTES;
    let body = " ".repeat(len);
    assert_eq!(post_raw(&running, &format!("content-length: {len}\r\n\r\n{body}")).await, "HTTP/1.1 413");
    // The length may also be unannounced.
    let len = caps::SUBMIT_BODY_BYTES + 1;
    let chunk = format!("transfer-encoding: chunked\r\n\r\n{len:x}\r\n{}", &body[..len]);
    assert_eq!(post_raw(&running, &chunk).await, "HTTP/1.1 413");
    for (path, status) in [
        ("v1/entries/x", 400),
        ("v1/entries/01", 400),
        ("v1/entries/99999999999999999999", 400),
        ("v1/entries/9223372036854775807", 404),
        ("v1/entries/2", 404),
        ("v1/entries?cluster=-&topic=t&partition=0&epoch=0&offset=0", 404),
        ("v1/entries?cluster=-&topic=t&partition=0&epoch=0&offset=9223372036854775808", 400),
        ("v1/entries?cluster=-&topic=t&partition=0&epoch=0", 400),
        ("v1/cursors?cluster=-&topic=t", 400),
        ("v1/cursors?cluster=-&topic=t&partition=-1", 400),
        ("v1/streams/entries?cluster=-&topic=t&partition=0&epoch=0&from=0&limit=0", 400),
        ("v1/streams/entries?cluster=-&topic=t&partition=0&epoch=0&from=0&limit=1001", 400),
        ("v1/heads?size=100", 404),
        ("tile/0/000.p/0", 400),
        ("tile/0/0", 400),
        ("tile/9/000", 400),
        ("tile/x", 400),
        ("nothing", 404),
    ] {
        assert_eq!(running.get(path).await.0, status, "{path}");
    }
    running.stop().await;
}

pub(crate) async fn serves_entries_by_stream_and_offset(database: Database) {
    let place = Place::new();
    let running = place.start(&database).await;
    let t = stream("t", 1);
    let of_t = place.ledger.summaries(&t, 0, 10, 5, None);
    let seqs = running.append(&of_t).await;
    running.append(&place.ledger.summaries(&stream("t", 2), 0, 10, 5, None)).await;
    let new = t.partition.stream(1);
    let epoch = place.ledger.epoch(&new, 50, 30, of_t[4].hash());
    let of_new = place.ledger.summary(&new, 30, 40, Some(epoch.hash()));
    let gap = place.ledger.gap(&new, 40, 45, Some(of_new.hash()));
    let new_seqs = running.append(&[epoch, of_new.clone(), gap.clone()]).await;

    let StreamId { partition, epoch: _ } = &t;
    let query = |epoch, from, limit| StreamEntriesQuery {
        cluster: partition.cluster.clone(),
        topic: partition.topic.clone(),
        partition: partition.number,
        epoch,
        from,
        limit,
    };
    let found = async |epoch, from, limit| {
        let answer = running.client.stream_entries(&query(epoch, from, limit)).await.expect("answered");
        answer.entries.iter().map(|view| view.seq).collect::<Vec<_>>()
    };
    assert_eq!(found(0, 0, 1000).await, seqs);
    assert_eq!(found(0, 25, 2).await, seqs[2..4]);
    assert!(found(0, 50, 10).await.is_empty());
    // A request from the stream's start gets the epoch entry.
    assert_eq!(found(1, 0, 10).await, new_seqs);
    assert_eq!(found(1, 30, 10).await, new_seqs);
    assert_eq!(found(1, 31, 10).await, new_seqs[1..]);

    let covering = async |epoch, offset| {
        let StreamEntriesQuery { cluster, topic, partition, .. } = query(0, 0, 1);
        let query = CoveringQuery { cluster, topic, partition, epoch, offset };
        let entry = running.client.covering_entry(&query).await.expect("answered");
        entry.map(|entry| Entry::parse(entry.as_bytes()).expect("an entry").seq)
    };
    assert_eq!(covering(0, 29).await, Some(seqs[2]));
    assert_eq!(covering(0, 50).await, None);
    assert_eq!(covering(1, 29).await, None);
    assert_eq!(covering(1, 30).await, Some(new_seqs[1]));
    assert_eq!(covering(1, 44).await, Some(new_seqs[2]));

    let cursor = running.cursor(&t.partition).await;
    assert_eq!((cursor.epoch, cursor.start, cursor.next), (1, 30, 45));
    assert_eq!((cursor.statement, cursor.last_summary), (Some(text(&gap)), Some(text(&of_new))));
    running.stop().await;
}

pub(crate) async fn appends_heads_statements(database: Database) {
    let place = Place::new();
    let options = Options { heads_s: 1, ..Options::default() };
    let running = place.start_with(&database, options).await;
    for partition in 0..3 {
        running.append(&place.ledger.summaries(&stream("t", partition), 0, 10, 2, None)).await;
    }
    let mut heads = None;
    super::running::until("a heads entry covers all three streams", async || {
        heads = running.client.heads(u64::MAX).await.expect("answered");
        heads.as_ref().is_some_and(|heads| heads.lines.len() == 3 && heads.lines.iter().all(|l| l.contains(" 20 ")))
    })
    .await;
    let heads = heads.expect("there is one");
    let lines: Vec<HeadsLine> = heads.lines.iter().map(|line| line.parse().expect("a line")).collect();
    assert_eq!(lines[2].stream, stream("t", 2));
    let entry = Entry::parse(heads.entry.as_bytes()).expect("an entry");
    match entry.statement.statement() {
        Statement::Heads(statement) => assert_eq!((statement.streams, statement.root), (3, heads_root(lines))),
        other => panic!("{other:?}"),
    }
    assert!(running.client.heads(2).await.expect("answered").is_none());
    // Another one follows at shutdown if a stream moved since.
    running.append(&[place.ledger.summary(&stream("t", 9), 0, 10, None)]).await;
    running.stop().await;
    let running = place.start(&database).await;
    let last = running.client.heads(u64::MAX).await.expect("answered").expect("there is one");
    assert_eq!(last.lines.len(), 4);
    let size = running.signed().await.size;
    assert_eq!(last.seq, size - 1);
    // And none if no stream did.
    running.stop().await;
    let running = place.start(&database).await;
    assert_eq!(running.signed().await.size, size);
    running.stop().await;
}

pub(crate) async fn continues_after_a_restart(database: Database) {
    let place = Place::new();
    let t = stream("t", 0);
    let statements = place.ledger.summaries(&t, 0, 10, 400, None);
    for part in statements.chunks(100) {
        let running = place.start(&database).await;
        running.append(part).await;
        running.stop().await;
    }
    let running = place.start(&database).await;
    running.until_ready().await;
    let size = running.signed().await.size;
    // Genesis, grant, 400 summaries, and a heads entry at each end.
    assert_eq!(size, 406);
    read_log(&running, &place.ledger).await;
    assert_eq!(running.submit(&statements[398..]).await.accepted[1].seq, 404);
    running.stop().await;
}

pub(crate) async fn groups_waiting_requests(database: Database) {
    let place = Place::new();
    let running = std::sync::Arc::new(place.start(&database).await);
    let mut submissions = tokio::task::JoinSet::new();
    for partition in 0..40 {
        let statements = place.ledger.summaries(&stream("t", partition), 0, 10, 5, None);
        for i in 0..statements.len() {
            // Each submits the whole prefix, so that their order does not matter.
            let (running, statements) = (running.clone(), statements[..=i].to_vec());
            submissions.spawn(async move { running.append(&statements).await });
        }
    }
    let answers = submissions.join_all().await;
    assert_eq!(answers.len(), 200);
    let status = running.signed().await;
    assert_eq!(status.size, 202, "every statement is in the chain once");
    let entries = read_log(&running, &place.ledger).await;
    for answer in answers {
        assert!(answer.is_sorted(), "a request's statements are in order");
        assert!(answer.iter().all(|&seq| entries[seq as usize].seq == seq));
    }
    std::sync::Arc::into_inner(running).expect("all submissions ended").stop().await;
}

pub(crate) async fn without_a_log_key_it_only_appends_and_serves(database: Database) {
    let place = Place::new();
    let running = place.start_with(&database, Options { signs: false, heads_s: 1, ..Options::default() }).await;
    running.append(&place.ledger.summaries(&stream("t", 0), 0, 10, 3, None)).await;
    running.until_ready().await;
    assert_eq!(running.client.checkpoint().await.expect("answered"), None);
    assert_eq!(running.get("tile/0/000.p/1").await.0, 404);
    running.stop().await;
    let running = place.start(&database).await;
    assert_eq!(running.signed().await.size, 5);
    read_log(&running, &place.ledger).await;
    running.stop().await;
}
