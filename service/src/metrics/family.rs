//! How a service declares its metrics, and gets the handles that count.

use std::marker::PhantomData;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, with_recorder};

/// What a metric's value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets; has `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// Prometheus' word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The declaration of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The name, with the unit last.
    pub name: &'static str,
    /// What its value does.
    pub kind: Kind,
    /// What one of it is, in words.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl Metric {
    /// Gives the recorder the HELP text.
    pub(super) fn describe(&self) {
        let (name, help) = (KeyName::from_const_str(self.name), SharedString::const_str(self.help));
        with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        });
    }
}

/// A declared metric with the type of its handles and the number of its labels. [`catalogue!`](crate::catalogue) makes
/// these, so a handle exists only for a declared metric.
#[derive(Debug)]
pub struct Family<H, const LABELS: usize> {
    metric: Metric,
    handle: PhantomData<fn() -> H>,
}

impl<H: Handle, const LABELS: usize> Family<H, LABELS> {
    /// For [`catalogue!`](crate::catalogue), which makes sure that type and declaration agree.
    #[doc(hidden)]
    pub const fn new(metric: Metric) -> Self {
        Self { metric, handle: PhantomData }
    }

    /// The declaration.
    pub const fn metric(&self) -> Metric {
        self.metric
    }

    /// The handle for these label values. The metric appears with it, at 0. This looks the handle up: keep it where
    /// something is counted often.
    pub fn with(&self, values: [&str; LABELS]) -> H {
        let labels = self.metric.labels.iter().zip(values).map(|(label, value)| Label::new(*label, value.to_owned()));
        let key = Key::from_parts(self.metric.name, labels.collect::<Vec<_>>());
        with_recorder(|recorder| H::register(recorder, &key))
    }
}

/// What a service holds to change a metric's value.
pub trait Handle {
    #[doc(hidden)]
    fn register(recorder: &dyn Recorder, key: &Key) -> Self;
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

impl Handle for Counter {
    fn register(recorder: &dyn Recorder, key: &Key) -> Self {
        recorder.register_counter(key, &METADATA)
    }
}

impl Handle for Gauge {
    fn register(recorder: &dyn Recorder, key: &Key) -> Self {
        recorder.register_gauge(key, &METADATA)
    }
}

impl Handle for Histogram {
    fn register(recorder: &dyn Recorder, key: &Key) -> Self {
        recorder.register_histogram(key, &METADATA)
    }
}

/// Declares the metrics of a service: a [`Family`] for each, and `METRICS`, the [`Metric`]s of them all.
///
/// Each declaration is `NAME: Kind = "name" ("unit") ["label", ...] "Help.";`.
#[macro_export]
macro_rules! catalogue {
    ($($id:ident: $kind:ident = $name:literal ($unit:literal) [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub(crate) const $id: $crate::metrics::Family<
                $crate::metrics::$kind,
                { <[&str]>::len(&[$($label),*]) },
            > = $crate::metrics::Family::new($crate::metrics::Metric {
                name: $name,
                kind: $crate::metrics::Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                help: $help,
            });
        )+

        /// The metrics of this service.
        #[allow(unreachable_pub, reason = "the service exports it; a test need not")]
        pub const METRICS: &[$crate::metrics::Metric] = &[$($id.metric()),+];
    };
}
