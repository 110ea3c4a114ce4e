//! A collector of traces, as the OpenTelemetry protocol describes it.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::Span,
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// Keeps what it is sent.
#[derive(Clone, Default)]
pub(crate) struct Collector {
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    /// A collector on a port of its own, and its address.
    pub(crate) async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
        (collector, address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let resources = received.iter().flat_map(|request| &request.resource_spans);
        resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
    }

    pub(crate) fn resource(&self) -> Resource {
        self.received.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap()
    }

    /// The request's span with this ID, once it is there.
    pub(crate) fn request(&self, request_id: &str) -> Option<Span> {
        self.spans().into_iter().find(|span| attribute(&span.attributes, "request_id").as_deref() == Some(request_id))
    }

    /// What happened below a span, at any depth.
    pub(crate) fn below(&self, span: &Span) -> Vec<Span> {
        let spans = self.spans();
        let (mut found, mut parents) = (Vec::new(), vec![span.span_id.clone()]);
        while let Some(parent) = parents.pop() {
            for child in spans.iter().filter(|child| child.parent_span_id == parent) {
                assert_eq!(child.trace_id, span.trace_id);
                parents.push(child.span_id.clone());
                found.push(child.clone());
            }
        }
        found
    }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.received.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// The value of an attribute as text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
