//! Compressing an answer's body as it goes by.

use std::sync::Arc;

use bytes::Bytes;
use eddy_crds::RouteProtocol;
use eddy_router::{compressed, shrinks, takes_gzip, varying};
use http::{Method, Version};
use pingora_core::protocols::http::compression::{Algorithm, Encode};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::entry::RouteEntry;
use crate::filter::edit_answer;

/// Fast, and most of what can be gained.
const GZIP_LEVEL: u32 = 5;
/// So many at once, of some 300 KiB each, for as long as their clients take: what there is no room for is sent as it is.
pub(crate) const COMPRESSORS_MAX: usize = 256;

/// What makes an answer's body smaller.
pub(crate) struct Compressor {
    encoder: Box<dyn Encode + Send + Sync>,
    _place: OwnedSemaphorePermit,
}

impl RouteEntry {
    /// Makes the head of an answer to a request one whose body is compressed, if its Route wants that, its client takes it, and it is one that
    /// shrinks.
    ///
    /// # Errors
    /// Where the head cannot be written.
    pub(crate) fn compress(
        &self,
        request: &RequestHeader,
        response: &mut ResponseHeader,
        room: &Arc<Semaphore>,
    ) -> Result<Option<Compressor>> {
        // Before HTTP/1.1, a body ends with the connection or has a length, which is not known any more.
        if !self.filters.compress || request.method == Method::HEAD || request.version < Version::HTTP_11 {
            return Ok(None);
        }
        // What comes by HTTP/2 may end with trailers, and is no text.
        if self.protocol == RouteProtocol::GRPC {
            return Ok(None);
        }
        if !shrinks(response.status, &response.headers) {
            return Ok(None);
        }
        edit_answer(response, &varying(&response.headers))?;
        if !takes_gzip(&request.headers) {
            return Ok(None);
        }
        let Ok(place) = room.clone().try_acquire_owned() else { return Ok(None) };
        let encoder = Algorithm::Gzip.compressor(GZIP_LEVEL).ok_or_else(|| Error::new(ErrorType::InternalError))?;
        edit_answer(response, &compressed(&response.headers))?;
        Ok(Some(Compressor { encoder, _place: place }))
    }
}

impl Compressor {
    /// What becomes of a part of the body; there may be nothing of it yet. At the end comes the rest.
    ///
    /// # Errors
    /// That it cannot be compressed: the answer is not whole then.
    pub(crate) fn take(&mut self, part: Option<&Bytes>, is_end: bool) -> Result<Bytes> {
        self.encoder.encode(part.map_or(&[][..], |part| part), is_end)
    }
}
