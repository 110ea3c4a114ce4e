use std::io::Write as _;

use tracing::{
    Event, Subscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    fmt::MakeWriter,
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::{
    fields::Fields,
    line::{Format, Line},
};

/// Writes events as lines, each with the spans that it happened in.
///
/// A span only keeps its fields: most spans end without a line in them, and those cost no formatting.
pub(super) struct LogLayer<W> {
    format: Format,
    output: W,
}

impl<W> LogLayer<W> {
    pub(super) fn new(format: Format, output: W) -> Self {
        Self { format, output }
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let spans: Vec<_> = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()).collect();
        let extensions: Vec<_> = spans.iter().map(|span| (span.name(), span.extensions())).collect();
        let spans: Vec<_> = extensions.iter().filter_map(|(name, span)| Some((*name, span.get::<Fields>()?))).collect();
        let line = Line { level: *metadata.level(), target: metadata.target(), event: &fields, spans: &spans };
        // Where nobody reads the log there is nobody to complain to.
        let _ = self.output.make_writer_for(metadata).write_all(line.written(self.format).as_bytes());
    }
}
