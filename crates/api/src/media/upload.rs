use std::sync::Arc;

use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use http::HeaderName;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use media::{ContentRepository, MediaId, Upload};
use ruma::OwnedServerName;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::error::ApiResult;
use crate::extract::{Authenticated, Json, Path, Query};

#[derive(Deserialize)]
pub(super) struct Named {
    filename: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Uploaded {
    content_uri: String,
}

/// <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>
pub(super) async fn upload(
    Authenticated(requester): Authenticated,
    Query(named): Query<Named>,
    State(media): State<Arc<ContentRepository>>,
    request: Request,
) -> ApiResult<Json<Uploaded>> {
    let content_uri = media.upload(&requester, of(request, named)).await?;
    Ok(Json(Uploaded { content_uri }))
}

/// <https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid>
pub(super) async fn upload_to(
    Authenticated(requester): Authenticated,
    Path((server_name, media_id)): Path<(OwnedServerName, MediaId)>,
    Query(named): Query<Named>,
    State(media): State<Arc<ContentRepository>>,
    request: Request,
) -> ApiResult<Json<Empty>> {
    media.upload_to(&requester, &server_name, media_id, of(request, named)).await?;
    Ok(Json(Empty {}))
}

fn of(request: Request, named: Named) -> Upload<BodyDataStream> {
    let header = |name: HeaderName| request.headers().get(name)?.to_str().ok();
    Upload {
        content_type: header(CONTENT_TYPE).map(str::to_owned),
        announced_bytes: header(CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        file_name: named.filename,
        body: request.into_body().into_data_stream(),
    }
}
