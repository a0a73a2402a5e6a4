//! The `[kafka]` section.

use kafka::{Consumer, Error, Properties};

fn parse(toml: &str) -> Result<Properties, String> {
    toml::from_str(toml).map_err(|error| error.to_string())
}

#[test]
fn strings_integers_and_booleans_are_accepted() {
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
fn missing_quotes_are_explained() {
    let error = parse("bootstrap.servers = \"broker:9092\"").expect_err("TOML reads it as a table");
    assert!(error.contains("in quotes"), "{error}");
}

#[test]
fn bootstrap_servers_are_required() {
    let error = parse("").expect_err("no brokers");
    assert!(error.contains("bootstrap.servers"), "{error}");
    assert!(Properties::new([("metadata.broker.list", "broker:9092")]).is_ok());
}

#[test]
fn override_that_breaks_a_guarantee_is_refused() {
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
fn fixed_value_may_be_repeated() {
    let fixed = [("isolation.level", "read_committed"), ("check.crcs", "true"), ("acks", "all")];
    let all = fixed.into_iter().chain([("bootstrap.servers", "broker:9092")]);
    Properties::new(all).expect("the values do not change");
}

#[test]
fn one_property_under_two_names_is_refused() {
    let brokers = ("bootstrap.servers", "broker:9092");
    let twice = [brokers, ("fetch.message.max.bytes", "1"), ("max.partition.fetch.bytes", "2")];
    let error = Properties::new(twice).expect_err("which one counts?").to_string();
    assert!(error.contains("max.partition.fetch.bytes"), "{error}");
}

/// librdkafka requires `message.max.bytes <= fetch.max.bytes <= receive.message.max.bytes - 512`.
#[test]
fn fetch_size_follows_the_configured_sizes() {
    for (given, fetch) in [
        (&[][..], "4194304"),
        (&[("message.max.bytes", "1000")], "4194304"),
        (&[("message.max.bytes", "10485760")], "10485760"),
        (&[("receive.message.max.bytes", "2000000")], "1999488"),
        (&[("message.max.bytes", "200000000")], "200000000"),
        (&[("message.max.bytes", "1000000000")], "1000000000"),
        (&[("message.max.bytes", "10485760"), ("fetch.max.bytes", "20971520")], "20971520"),
        (&[("fetch.max.bytes", "300000000")], "300000000"),
    ] {
        let brokers = ("bootstrap.servers", "127.0.0.1:9");
        let properties = Properties::new(given.iter().copied().chain([brokers])).expect("all of these may be set");
        assert_eq!(properties.consumer(None).get("fetch.max.bytes"), Some(fetch), "{given:?}");
        // librdkafka checks the sizes when a client is made.
        Consumer::standalone(&properties, "sizes").unwrap_or_else(|error| panic!("{given:?}: {error}"));
    }
    let contradiction = [("message.max.bytes", "3000000"), ("receive.message.max.bytes", "2000000")];
    let properties = Properties::new(contradiction.into_iter().chain([("bootstrap.servers", "127.0.0.1:9")]));
    let error =
        Consumer::standalone(&properties.expect("each may be set"), "sizes").expect_err("no response would fit");
    assert!(error.to_string().contains("receive.message.max.bytes"), "{error}");
}

#[test]
fn debug_output_hides_values() {
    let properties = Properties::new([("bootstrap.servers", "broker:9092"), ("sasl.password", "hunter2")]);
    let shown = format!("{:?}", properties.expect("both may be set"));
    assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn partitions_share_the_fetch_budget() {
    let given = [("bootstrap.servers", "broker:9092"), ("queued.max.messages.kbytes", "5")];
    let properties = Properties::new(given).expect("both may be set");
    let ahead = |partitions| {
        let shared = properties.shared_by(partitions);
        let number = |name| shared.get(name).expect("a default").parse::<u64>().expect("a number");
        [number("queued.min.messages"), number("fetch.message.max.bytes"), number("queued.max.messages.kbytes")]
    };
    let [messages, bytes, given] = ahead(4);
    assert_eq!(ahead(1), [messages, bytes, given], "fetching further ahead is of no use");
    assert_eq!(ahead(40), [messages / 10, bytes / 10, given], "a given value stays");
    assert_eq!(ahead(usize::MAX), [1, 1, given]);
}
