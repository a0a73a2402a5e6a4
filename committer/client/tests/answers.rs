//! How the client interprets answers.

use std::time::Duration;

use committer_client::{Client, CursorQuery, Error};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers one request with `answer` and returns what was asked.
async fn serve_once(answer: &'static str) -> (Client, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = Client::new(&format!("http://{}/log", listener.local_addr().expect("bound"))).expect("an address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        while !complete(&request) {
            let n = stream.read(&mut buffer).await.expect("a request");
            request.extend_from_slice(&buffer[..n]);
        }
        stream.write_all(answer.as_bytes()).await.expect("the client reads");
        String::from_utf8(request).expect("text")
    });
    (client, server)
}

/// Whether the head and all announced body bytes have arrived.
fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |n| n.parse().expect("n"));
    body.len() >= length
}

fn http(status: &str, headers: &str, body: &str) -> &'static str {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}").leak()
}

#[tokio::test]
async fn cursor_query_is_escaped_below_the_prefix() {
    let body = r#"{"epoch":"1","start":"7","next":"18446744073709551615","topic_id":null,"statement":null,"seq":null,"last_summary":null}"#;
    let (client, server) = serve_once(http("200 OK", "", body)).await;
    let query = CursorQuery { cluster: "-".to_owned(), topic: "a&b=c".to_owned(), partition: 3 };
    let cursor = client.cursor(&query).await.expect("a cursor");
    assert_eq!((cursor.epoch, cursor.start, cursor.next), (1, 7, u64::MAX));
    let request = server.await.expect("served");
    let line = request.lines().next().expect("a request line");
    // In any order: it depends on serde_json's features.
    let query = line.strip_prefix("GET /log/v1/cursors?").and_then(|line| line.strip_suffix(" HTTP/1.1"));
    let mut pairs: Vec<&str> = query.expect("the path and the protocol").split('&').collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["cluster=-", "partition=3", "topic=a%26b%3Dc"]);
}

#[tokio::test]
async fn non_canonical_decimal_strings_are_malformed() {
    for seq in ["7", "\"07\"", "\"+7\"", "\"-7\"", "\"\"", "\"18446744073709551616\""] {
        let body = format!(
            r#"{{"epoch":{seq},"start":"0","next":"0","topic_id":null,"statement":null,"seq":null,"last_summary":null}}"#
        );
        let (client, _server) = serve_once(http("200 OK", "", &body)).await;
        let query = CursorQuery { cluster: "-".to_owned(), topic: "t".to_owned(), partition: 0 };
        let error = client.cursor(&query).await.expect_err("not a canonical decimal");
        assert!(matches!(error, Error::Malformed { .. }), "{seq}: {error}");
    }
}

#[tokio::test]
async fn refused_statement_is_an_answer() {
    let body = r#"{"accepted":[{"seq":"4","entry":"e"}],"stopped":{"index":1,"code":"wrong-cursor","message":"m"},"cursor":null}"#;
    let (client, _server) = serve_once(http("200 OK", "", body)).await;
    let answer = client.submit(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]).await.expect("an answer");
    assert_eq!(answer.accepted[0].seq, 4);
    assert_eq!(answer.refused.expect("refused").code, "wrong-cursor");
}

#[tokio::test]
async fn answer_must_decide_all_statements() {
    for body in [
        r#"{"accepted":[],"stopped":null,"cursor":null}"#,
        r#"{"accepted":[],"stopped":{"index":1,"code":"c","message":"m"},"cursor":null}"#,
        r#"{"accepted":[{"seq":"1","entry":""},{"seq":"2","entry":""}],"stopped":null,"cursor":null}"#,
    ] {
        let (client, _server) = serve_once(http("200 OK", "", body)).await;
        let error = client.submit(vec!["a".to_owned()]).await.expect_err("incomplete");
        assert!(matches!(error, Error::Malformed { .. }), "{body}: {error}");
    }
}

#[tokio::test]
async fn overload_is_unavailable_with_retry_after() {
    let body = r#"{"code":"unavailable","message":"the queue is full"}"#;
    for status in ["429 Too Many Requests", "503 Service Unavailable"] {
        let (client, _server) = serve_once(http(status, "retry-after: 2\r\n", body)).await;
        match client.submit(vec!["a".to_owned()]).await {
            Err(Error::Unavailable { retry_after, message, .. }) => {
                assert_eq!((retry_after, message.as_str()), (Some(Duration::from_secs(2)), "the queue is full"));
            }
            other => panic!("{status}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn cut_connection_is_unavailable() {
    let (client, _server) = serve_once("").await;
    let error = client.submit(vec!["a".to_owned()]).await.expect_err("no answer");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn only_the_committers_not_found_means_absent() {
    let own = r#"{"code":"not-found","message":"no such entry"}"#;
    let (client, _server) = serve_once(http("404 Not Found", "", own)).await;
    assert_eq!(client.entry(5).await.expect("an answer"), None);

    let (client, _server) = serve_once(http("404 Not Found", "", "<html>nothing here</html>")).await;
    let error = client.entry(5).await.expect_err("some other server");
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn refused_request_names_its_code() {
    let body = r#"{"code":"too-large","message":"65 statements"}"#;
    let (client, _server) = serve_once(http("413 Payload Too Large", "", body)).await;
    match client.submit(vec!["a".to_owned()]).await {
        Err(Error::Refused { code, .. }) => assert_eq!(code, "too-large"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn client_refuses_an_invalid_address() {
    for base in ["127.0.0.1:7380", "ftp://x/", "", "http//x"] {
        assert!(matches!(Client::new(base), Err(Error::Refused { .. })), "{base}");
    }
    assert_eq!(Client::new("http://h/p").expect("an address").base(), "http://h/p/");
    assert_eq!(Client::new("http://me:secret@h/p").expect("an address").place(), "http://h/p/");
}
