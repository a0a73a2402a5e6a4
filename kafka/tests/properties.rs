//! The `[kafka]` section.

use kafka::{Error, Properties};

fn parse(toml: &str) -> Result<Properties, String> {
    toml::from_str(toml).map_err(|error| error.to_string())
}

#[test]
fn strings_integers_and_booleans_are_taken() {
    let properties = parse(
        r#"
        "bootstrap.servers" = "broker:9092"
        "session.timeout.ms" = 6000
        "enable.ssl.certificate.verification" = true
        "#,
    );
    let properties = properties.expect("all of these may be set");
    assert_eq!(properties.get("bootstrap.servers"), Some("broker:9092"));
    assert_eq!(properties.get("session.timeout.ms"), Some("6000"));
    assert_eq!(properties.get("enable.ssl.certificate.verification"), Some("true"));
    assert_eq!(properties.get("check.crcs"), None);
}

#[test]
fn a_name_without_quotes_is_explained() {
    let error = parse("bootstrap.servers = \"broker:9092\"").expect_err("TOML takes it for a table");
    assert!(error.contains("in quotes"), "{error}");
}

#[test]
fn brokers_must_be_given() {
    let error = parse("").expect_err("no brokers");
    assert!(error.contains("bootstrap.servers"), "{error}");
    assert!(Properties::new([("metadata.broker.list", "broker:9092")]).is_ok());
}

#[test]
fn overrides_that_would_void_the_guarantees_are_refused_by_name() {
    for (name, value) in [
        ("isolation.level", "read_uncommitted"),
        ("auto.offset.reset", "earliest"),
        ("check.crcs", "false"),
        ("enable.partition.eof", "false"),
        ("enable.auto.commit", "true"),
        ("auto.commit.enable", "true"),
        ("enable.auto.offset.store", "true"),
        ("enable.idempotence", "false"),
        ("enable.gapless.guarantee", "false"),
        ("acks", "1"),
        ("request.required.acks", "1"),
        ("message.timeout.ms", "1000"),
        ("delivery.timeout.ms", "1000"),
        ("group.id", "mine"),
        ("log_level", "7"),
        ("transactional.id", "mine"),
    ] {
        let error = Properties::new([("bootstrap.servers", "broker:9092"), (name, value)]);
        match error {
            Err(Error::Property { name: refused, .. }) => assert_eq!(refused, name),
            other => panic!("{name}={value}: {other:?}"),
        }
    }
}

#[test]
fn what_is_fixed_may_be_repeated() {
    let fixed = [("isolation.level", "read_committed"), ("check.crcs", "true"), ("acks", "all")];
    let all = fixed.into_iter().chain([("bootstrap.servers", "broker:9092")]);
    Properties::new(all).expect("nothing is changed by it");
}

#[test]
fn one_property_under_two_names_is_refused() {
    let brokers = ("bootstrap.servers", "broker:9092");
    let twice = [brokers, ("fetch.message.max.bytes", "1"), ("max.partition.fetch.bytes", "2")];
    let error = Properties::new(twice).expect_err("which one counts?").to_string();
    assert!(error.contains("max.partition.fetch.bytes"), "{error}");
}

#[test]
fn values_are_not_shown() {
    let properties = Properties::new([("bootstrap.servers", "broker:9092"), ("sasl.password", "hunter2")]);
    let shown = format!("{:?}", properties.expect("both may be set"));
    assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn many_partitions_share_what_is_fetched_ahead() {
    let given = [("bootstrap.servers", "broker:9092"), ("queued.max.messages.kbytes", "5")];
    let properties = Properties::new(given).expect("both may be set");
    let ahead = |partitions| {
        let shared = properties.shared_by(partitions);
        let number = |name| shared.get(name).expect("a default").parse::<u64>().expect("a number");
        [number("queued.min.messages"), number("fetch.message.max.bytes"), number("queued.max.messages.kbytes")]
    };
    let [messages, bytes, given] = ahead(4);
    assert_eq!(ahead(1), [messages, bytes, given], "more would be of no use");
    assert_eq!(ahead(40), [messages / 10, bytes / 10, given], "what is given stays");
    assert_eq!(ahead(usize::MAX), [1, 1, given]);
}
