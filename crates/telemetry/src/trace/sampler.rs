use opentelemetry::{
    Context, KeyValue,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId},
};
use opentelemetry_sdk::trace::{SamplingDecision, SamplingResult, ShouldSample};

/// Records a share of the requests, with every span of a recorded request.
///
/// The decision is this server's own: neither what a remote says of its trace nor the ID that it chose for it has an influence,
/// else anybody could have everything recorded.
#[derive(Debug, Clone)]
pub(super) struct OwnDecision {
    /// From 0, nothing, to 1, everything.
    pub(super) ratio: f64,
}

impl ShouldSample for OwnDecision {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        _trace_id: TraceId,
        _name: &str,
        _kind: &SpanKind,
        _attributes: &[KeyValue],
        _links: &[Link],
    ) -> SamplingResult {
        let parent = parent.map(|parent| parent.span().span_context().clone()).filter(|parent| parent.is_valid());
        let is_sampled = match &parent {
            Some(own) if !own.is_remote() => own.is_sampled(),
            _ => rand::random::<f64>() < self.ratio,
        };
        SamplingResult {
            decision: if is_sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
            attributes: Vec::new(),
            trace_state: parent.map(|parent| parent.trace_state().clone()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{
        Context,
        trace::{SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState},
    };
    use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample as _};

    use super::OwnDecision;

    fn is_sampled(ratio: f64, parent: Option<(bool, bool)>) -> bool {
        let trace_id = TraceId::from(1);
        let parent = parent.map(|(is_remote, is_sampled)| {
            let flags = TraceFlags::default().with_sampled(is_sampled);
            let span = SpanContext::new(trace_id, SpanId::from(1), flags, is_remote, TraceState::default());
            Context::new().with_remote_span_context(span)
        });
        let decided = OwnDecision { ratio }.should_sample(parent.as_ref(), trace_id, "", &SpanKind::Server, &[], &[]);
        decided.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn what_belongs_to_a_request_of_ours_is_decided_with_it() {
        assert!(is_sampled(0.0, Some((false, true))));
        assert!(!is_sampled(1.0, Some((false, false))));
    }

    #[test]
    fn a_remote_has_no_say() {
        for remote_sampled in [true, false] {
            assert!(!is_sampled(0.0, Some((true, remote_sampled))));
            assert!(is_sampled(1.0, Some((true, remote_sampled))));
        }
        assert!(!is_sampled(0.0, None) && is_sampled(1.0, None));
    }

    #[test]
    fn a_share_is_a_share() {
        let sampled = (0..4_000).filter(|_| is_sampled(0.25, Some((true, true)))).count();
        assert!((800..1_200).contains(&sampled), "{sampled} of 4000");
    }
}
